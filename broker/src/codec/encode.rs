use std::borrow::Cow;

use jackfield_plugin_api::{
    Error, RawJson, Topic,
    json::{is_plain, push_string},
};
use smallvec::{SmallVec, smallvec};
use tokio_tungstenite::tungstenite::protocol::frame::{
    FrameHeader,
    coding::{Data, OpCode},
};

use super::Tid;

/// What is added to a message to tell it apart takes at most so much: a frame's header (RFC 6455, section 5.2).
const MOST_FRAMING: usize = 10;

/// How messages are told apart on a transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Framing {
    /// Each is one WebSocket text message.
    WebSocket,
    /// Each is one line.
    Line,
}

impl Framing {
    /// Appends one message whose text is the parts in a row. No part holds a line break: [`RawJson`] has none, and
    /// strings are escaped.
    // So that how many parts there are is known, and what is constant of them is copied without a call.
    #[inline(always)]
    fn put(self, out: &mut Vec<u8>, parts: &[&str]) {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        out.reserve(length + MOST_FRAMING);
        if self == Self::WebSocket {
            let header = FrameHeader { opcode: OpCode::Data(Data::Text), ..FrameHeader::default() };
            // Writing to memory cannot fail.
            header.format(length as u64, out).ok();
        }
        for part in parts {
            debug_assert!(!part.contains(['\n', '\r']), "a message is one line");
            out.extend_from_slice(part.as_bytes());
        }
        if self == Self::Line {
            out.push(b'\n');
        }
    }
}

/// Appends the answer to a request; `data` is left out where it is `{}`.
pub fn put_answer(out: &mut Vec<u8>, framing: Framing, tid: &Tid, data: &RawJson) {
    let mut digits = itoa::Buffer::new();
    let tid = tid.text(&mut digits);
    if data.is_empty() {
        return framing.put(out, &[r#"{"result":"ok","tid":"#, tid, "}"]);
    }
    framing.put(out, &[r#"{"result":"ok","data":"#, data.as_str(), r#","tid":"#, tid, "}"]);
}

/// Appends an error answer, under `null` where the request had no id.
pub fn put_error(out: &mut Vec<u8>, framing: Framing, tid: Option<&Tid>, error: &Error) {
    let mut digits = itoa::Buffer::new();
    let tid = tid.map_or("null", |tid| tid.text(&mut digits));
    framing.put(out, &[r#"{"result":"error","data":"#, error.to_json().as_str(), r#","tid":"#, tid, "}"]);
}

/// Appends an ack.
pub fn put_ack(out: &mut Vec<u8>, framing: Framing, tid: &Tid) {
    let mut digits = itoa::Buffer::new();
    framing.put(out, &[r#"{"ack":"#, tid.text(&mut digits), "}"]);
}

/// A request of the broker's.
#[derive(Clone, Copy, Debug)]
pub struct RequestFrame<'a> {
    /// The class.
    pub class: &'a str,
    /// The subclass.
    pub subclass: &'a str,
    /// The command.
    pub cmd: &'a str,
    /// The arguments, JSON.
    pub data: &'a str,
    /// Who asks, for sessions that asked to know: a JSON object.
    pub from: Option<&'a str>,
    /// Under which id it is to be answered.
    pub tid: u64,
}

/// Appends a request of the broker's.
pub fn put_request(out: &mut Vec<u8>, framing: Framing, request: &RequestFrame<'_>) {
    let mut digits = itoa::Buffer::new();
    let (class, subclass, cmd) = (escaped(request.class), escaped(request.subclass), escaped(request.cmd));
    let from = request.from.map_or(["", ""], |from| [r#","from":"#, from]);
    framing.put(
        out,
        &[
            r#"{"class":""#,
            &class,
            "\"",
            from[0],
            from[1],
            r#","subclass":""#,
            &subclass,
            r#"","cmd":""#,
            &cmd,
            r#"","data":"#,
            request.data,
            r#","tid":"#,
            digits.format(request.tid),
            "}",
        ],
    );
}

/// What stands between a string's quotes.
fn escaped(text: &str) -> Cow<'_, str> {
    if is_plain(text) {
        return Cow::Borrowed(text);
    }
    let mut quoted = String::new();
    push_string(&mut quoted, text);
    quoted.pop();
    Cow::Owned(quoted.split_off(1))
}

/// An event as it goes to sessions.
#[derive(Clone, Copy, Debug)]
pub struct EventFrame<'a> {
    /// What it is about.
    pub topic: &'a Topic,
    /// What it says; left out where empty.
    pub body: &'a RawJson,
    /// Where it was fired, for sessions of another service.
    pub service: Option<&'a str>,
    /// Who sent it, for sessions that asked to know: a JSON object.
    pub from: Option<&'a str>,
    /// Under which id it is to be answered; `None`: not at all.
    pub tid: Option<u64>,
}

/// Appends an event (protocol §5).
pub fn put_event(out: &mut Vec<u8>, framing: Framing, event: &EventFrame<'_>) {
    let topic = event.topic;
    let class = escaped(&topic.class);
    let optional = [
        (r#"","subclass":""#, topic.subclass.as_deref().map(escaped)),
        (r#"","type":""#, topic.kind.as_deref().map(escaped)),
        (r#"","obj_id":""#, topic.obj_id.as_deref().map(escaped)),
    ];
    let service = event.service.map(escaped);
    let mut digits = itoa::Buffer::new();
    let mut parts: SmallVec<[&str; 20]> = smallvec![r#"{"class":"core","cmd":"event""#];
    if let Some(from) = event.from {
        parts.extend([r#","from":"#, from]);
    }
    parts.extend([r#","data":{"class":""#, &class]);
    for (name, value) in &optional {
        if let Some(value) = value {
            parts.extend([*name, value]);
        }
    }
    parts.push("\"");
    if !event.body.is_empty() {
        parts.extend([r#","body":"#, event.body.as_str()]);
    }
    if let Some(service) = &service {
        parts.extend([r#","service":""#, service, "\""]);
    }
    match event.tid {
        Some(tid) => parts.extend([r#"},"tid":"#, digits.format(tid), "}"]),
        None => parts.push("}}"),
    }
    framing.put(out, &parts);
}
