use bytes::{BufMut, BytesMut};
use jackfield_plugin_api::{CommandKey, Error, RawJson, Topic, json::push_string};
use tokio_tungstenite::tungstenite::protocol::frame::{
    FrameHeader,
    coding::{Data, OpCode},
};

use super::Tid;

/// The longest header of an unmasked WebSocket frame.
const LONGEST_HEADER: usize = 10;

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
    fn put(self, out: &mut BytesMut, parts: &[&str]) {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        out.reserve(length + LONGEST_HEADER);
        if self == Self::WebSocket {
            let header = FrameHeader { opcode: OpCode::Data(Data::Text), ..FrameHeader::default() };
            // Writing to memory cannot fail.
            header.format(length as u64, &mut out.writer()).ok();
        }
        for part in parts {
            out.put_slice(part.as_bytes());
        }
        if self == Self::Line {
            out.put_u8(b'\n');
        }
    }
}

/// Appends the answer to a request; `data` is left out where it is `{}`.
pub fn put_answer(out: &mut BytesMut, framing: Framing, tid: &Tid, data: &RawJson) {
    match data.as_str() {
        "{}" | "null" => framing.put(out, &[r#"{"result":"ok","tid":"#, tid.as_str(), "}"]),
        data => framing.put(out, &[r#"{"result":"ok","data":"#, data, r#","tid":"#, tid.as_str(), "}"]),
    }
}

/// Appends an error answer, under `null` where the request had no id.
pub fn put_error(out: &mut BytesMut, framing: Framing, tid: Option<&Tid>, error: &Error) {
    let tid = tid.map_or("null", Tid::as_str);
    framing.put(out, &[r#"{"result":"error","data":"#, error.to_json().as_str(), r#","tid":"#, tid, "}"]);
}

/// Appends an ack.
pub fn put_ack(out: &mut BytesMut, framing: Framing, tid: &Tid) {
    framing.put(out, &[r#"{"ack":"#, tid.as_str(), "}"]);
}

/// Appends a request of the broker's.
pub fn put_request(
    out: &mut BytesMut,
    framing: Framing,
    command: &CommandKey,
    data: &RawJson,
    from: Option<&str>,
    tid: u64,
) {
    let mut head = String::from(r#"{"class":"#);
    push_string(&mut head, &command.class);
    push_from(&mut head, from);
    head.push_str(r#","subclass":"#);
    push_string(&mut head, &command.subclass);
    head.push_str(r#","cmd":"#);
    push_string(&mut head, &command.cmd);
    framing.put(out, &[&head, r#","data":"#, data.as_str(), r#","tid":"#, &tid.to_string(), "}"]);
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
pub fn put_event(out: &mut BytesMut, framing: Framing, event: &EventFrame<'_>) {
    let mut text = String::with_capacity(160 + event.body.len());
    text.push_str(r#"{"class":"core","cmd":"event""#);
    push_from(&mut text, event.from);
    text.push_str(r#","data":{"class":"#);
    push_string(&mut text, &event.topic.class);
    let topic = event.topic;
    for (name, value) in [
        (r#","subclass":"#, topic.subclass.as_deref()),
        (r#","type":"#, topic.kind.as_deref()),
        (r#","obj_id":"#, topic.obj_id.as_deref()),
    ] {
        if let Some(value) = value {
            text.push_str(name);
            push_string(&mut text, value);
        }
    }
    if !event.body.is_empty() {
        text.push_str(r#","body":"#);
        text.push_str(event.body.as_str());
    }
    if let Some(service) = event.service {
        text.push_str(r#","service":"#);
        push_string(&mut text, service);
    }
    text.push('}');
    match event.tid {
        Some(tid) => framing.put(out, &[&text, r#","tid":"#, &tid.to_string(), "}"]),
        None => framing.put(out, &[&text, "}"]),
    }
}

fn push_from(text: &mut String, from: Option<&str>) {
    if let Some(from) = from {
        text.push_str(r#","from":"#);
        text.push_str(from);
    }
}
