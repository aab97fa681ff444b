//! The wire protocol's messages: what is written, and how what arrives is read.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{AnswerError, Error};

/// A request's address in the registry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Command<'a> {
    pub(crate) class: &'a str,
    pub(crate) subclass: &'a str,
    pub(crate) cmd: &'a str,
}

impl<'a> Command<'a> {
    /// A command of the broker's own.
    pub(crate) const fn core(subclass: &'a str, cmd: &'a str) -> Self {
        Self { class: "core", subclass, cmd }
    }
}

/// A request as it is sent. `data` that is JSON `null` is left out.
pub(crate) fn encode_request(
    command: Command<'_>,
    data: &(impl Serialize + ?Sized),
    tid: u64,
) -> Result<String, Error> {
    let mut frame = Vec::with_capacity(128);
    let mut put = |key: &str, text: &str| {
        frame.extend_from_slice(key.as_bytes());
        serde_json::to_writer(&mut frame, text).map_err(Error::Encode)
    };
    put("{\"class\":", command.class)?;
    put(",\"subclass\":", command.subclass)?;
    put(",\"cmd\":", command.cmd)?;
    let before_data = frame.len();
    frame.extend_from_slice(b",\"data\":");
    let data_at = frame.len();
    serde_json::to_writer(&mut frame, data).map_err(Error::Encode)?;
    if frame.get(data_at..) == Some(b"null") {
        frame.truncate(before_data);
    }
    frame.extend_from_slice(format!(",\"tid\":{tid}}}").as_bytes());
    String::from_utf8(frame).map_err(|_| Error::Protocol("a request that is not UTF-8".into()))
}

/// The good answer to the other side's request. `tid` is JSON text.
pub(crate) fn encode_ok(data: Option<&RawValue>, tid: &RawValue) -> String {
    match data.map(RawValue::get) {
        None | Some("{}") => format!("{{\"result\":\"ok\",\"tid\":{tid}}}"),
        Some(data) => format!("{{\"result\":\"ok\",\"data\":{data},\"tid\":{tid}}}"),
    }
}

/// The error answer to the other side's request.
pub(crate) fn encode_error(error: &AnswerError, tid: &RawValue) -> String {
    let data = match &error.details {
        Some(details) => details.get().to_owned(),
        None => serde_json::json!({"code": error.code, "error": error.text}).to_string(),
    };
    format!("{{\"result\":\"error\",\"data\":{data},\"tid\":{tid}}}")
}

/// Tells the other side that its request is being worked on.
pub(crate) fn encode_ack(tid: &RawValue) -> String {
    format!("{{\"ack\":{tid}}}")
}

/// A message from the broker.
#[derive(Debug)]
pub(crate) enum Incoming<'a> {
    /// An answer to a request of ours; without a tid of ours it is a complaint about something unreadable.
    Answer { tid: Option<u64>, outcome: Result<Box<RawValue>, Error> },
    /// More time for a request of ours.
    Ack { tid: u64 },
    /// A request of the broker's.
    Request(IncomingRequest<'a>),
    /// An object that is none of these.
    Unknown,
}

/// A request of the broker's, borrowed from the message.
#[derive(Debug)]
pub(crate) struct IncomingRequest<'a> {
    pub(crate) class: Cow<'a, str>,
    pub(crate) subclass: Cow<'a, str>,
    pub(crate) cmd: Cow<'a, str>,
    pub(crate) data: Option<&'a RawValue>,
    pub(crate) tid: Option<&'a RawValue>,
    pub(crate) from: Option<&'a RawValue>,
}

/// Text that is borrowed where it has no escapes. A newtype, since serde borrows no `Option<Cow<str>>`.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(crate) struct Text<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default)]
    class: Option<Text<'a>>,
    #[serde(borrow, default)]
    subclass: Option<Text<'a>>,
    #[serde(borrow, default)]
    cmd: Option<Text<'a>>,
    #[serde(borrow, default)]
    result: Option<Text<'a>>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tid: Option<&'a RawValue>,
    #[serde(borrow, default)]
    ack: Option<&'a RawValue>,
    #[serde(borrow, default)]
    from: Option<&'a RawValue>,
}

/// Reads one message. The error says what is wrong with it.
pub(crate) fn parse(frame: &Bytes) -> Result<Incoming<'_>, String> {
    // A derived struct would be read from an array, too.
    if frame.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        return Err("not a JSON object".into());
    }
    let envelope: Envelope<'_> = serde_json::from_slice(frame).map_err(|error| error.to_string())?;
    if let Some(result) = envelope.result {
        let tid = own_tid(envelope.tid);
        return Ok(Incoming::Answer { tid, outcome: outcome(&result.0, envelope.data) });
    }
    if let Some(ack) = envelope.ack {
        return Ok(own_tid(Some(ack)).map_or(Incoming::Unknown, |tid| Incoming::Ack { tid }));
    }
    let (Some(class), Some(cmd)) = (envelope.class, envelope.cmd) else {
        return Ok(Incoming::Unknown);
    };
    Ok(Incoming::Request(IncomingRequest {
        class: class.0,
        subclass: envelope.subclass.map_or(Cow::Borrowed("core"), |subclass| subclass.0),
        cmd: cmd.0,
        data: envelope.data,
        tid: envelope.tid,
        from: envelope.from,
    }))
}

/// Our own tids are numbers; anything else is not ours.
fn own_tid(tid: Option<&RawValue>) -> Option<u64> {
    tid?.get().parse().ok()
}

fn outcome(result: &str, data: Option<&RawValue>) -> Result<Box<RawValue>, Error> {
    match result {
        "ok" => Ok(data.map_or_else(empty_object, ToOwned::to_owned)),
        "error" => Err(match data.and_then(parse_error) {
            Some(error) => Error::Answer(error),
            None => Error::Protocol("an error answer without code and text".into()),
        }),
        other => Err(Error::Protocol(format!("an answer whose result is {other:?}"))),
    }
}

fn parse_error(data: &RawValue) -> Option<AnswerError> {
    #[derive(Deserialize)]
    struct CodeAndText<'a> {
        code: i64,
        #[serde(borrow)]
        error: Text<'a>,
    }
    let CodeAndText { code, error } = serde_json::from_str(data.get()).ok()?;
    Some(AnswerError { code, text: error.0.into_owned(), details: Some(data.to_owned()) })
}

/// `{}`: what `data` and `body` are when they were left out.
pub(crate) fn empty_object() -> Box<RawValue> {
    serde_json::value::to_raw_value(&serde_json::Map::new()).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET: Command<'_> = Command { class: "weather", subclass: "forecast", cmd: "get" };

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    fn answer(frame: &str) -> (Option<u64>, Result<Box<RawValue>, Error>) {
        let frame = Bytes::copy_from_slice(frame.as_bytes());
        match parse(&frame).unwrap() {
            Incoming::Answer { tid, outcome } => (tid, outcome),
            other => panic!("not an answer: {other:?}"),
        }
    }

    #[test]
    fn requests_are_written_with_their_data_unchanged() {
        let frame = encode_request(GET, &raw("{\"n\":1.00,\"a\" : [ ]}"), 7).unwrap();
        assert_eq!(
            frame,
            "{\"class\":\"weather\",\"subclass\":\"forecast\",\"cmd\":\"get\",\"data\":{\"n\":1.00,\"a\" : [ ]},\"tid\":7}"
        );
    }

    #[test]
    fn no_data_is_left_out() {
        let expected = r#"{"class":"weather","subclass":"forecast","cmd":"get","tid":1}"#;
        assert_eq!(encode_request(GET, &(), 1).unwrap(), expected);
        assert_eq!(encode_request(GET, &None::<i32>, 1).unwrap(), expected);
        let frame = encode_request(GET, "null", 1).unwrap();
        assert!(frame.contains("\"data\":\"null\""), "{frame}");
    }

    #[test]
    fn names_are_escaped() {
        let command = Command { class: "a\"b", subclass: "\n", cmd: "é" };
        let frame = encode_request(command, &(), 1).unwrap();
        let value: serde_json::Value = serde_json::from_str(&frame).unwrap();
        assert_eq!((value["class"].as_str(), value["subclass"].as_str()), (Some("a\"b"), Some("\n")));
    }

    #[test]
    fn answers_echo_the_tid_as_it_was_written() {
        for tid in ["7", "1.0", "\"a\\u0062\"", "123456789012345678901234567890"] {
            assert_eq!(encode_ok(None, &raw(tid)), format!("{{\"result\":\"ok\",\"tid\":{tid}}}"));
            assert_eq!(encode_ack(&raw(tid)), format!("{{\"ack\":{tid}}}"));
        }
        let error = AnswerError::new(200_001, "no \"such\" city");
        let frame = encode_error(&error, &raw("1"));
        let value: serde_json::Value = serde_json::from_str(&frame).unwrap();
        assert_eq!(value["data"]["error"], "no \"such\" city");
    }

    #[test]
    fn good_answers() {
        let (tid, data) =
            answer(r#"{"tid":3,"extra":null,"data":{"x":12345678901234567890.5},"result":"ok"}"#);
        assert_eq!(tid, Some(3));
        assert_eq!(data.unwrap().get(), r#"{"x":12345678901234567890.5}"#);
        assert_eq!(answer(r#"{"result":"ok","tid":3}"#).1.unwrap().get(), "{}");
        assert_eq!(answer(r#"{"result":"ok","data":null,"tid":3}"#).1.unwrap().get(), "{}");
    }

    #[test]
    fn error_answers_keep_their_details() {
        let (_, outcome) =
            answer(r#"{"result":"error","data":{"code":200007,"error":"busy","retry":5},"tid":3}"#);
        let Err(Error::Answer(error)) = outcome else { panic!("not an error answer") };
        assert_eq!((error.code, error.text.as_str()), (200_007, "busy"));
        assert!(error.details.unwrap().get().contains("\"retry\":5"));
        let (tid, outcome) = answer(r#"{"result":"error","data":{"code":100044,"error":"x"},"tid":null}"#);
        assert!(tid.is_none() && outcome.is_err());
    }

    #[test]
    fn improper_answers_are_protocol_errors() {
        for frame in [
            r#"{"result":"maybe","tid":1}"#,
            r#"{"result":"error","tid":1}"#,
            r#"{"result":"error","data":{"code":"x"},"tid":1}"#,
        ] {
            let (tid, outcome) = answer(frame);
            assert_eq!(tid, Some(1));
            assert!(matches!(outcome, Err(Error::Protocol(_))), "{frame}");
        }
    }

    #[test]
    fn requests_have_defaults() {
        let frame = Bytes::from_static(br#"{"class":"core","cmd":"p\u0069ng","tid":"a"}"#);
        let Incoming::Request(request) = parse(&frame).unwrap() else { panic!("not a request") };
        assert_eq!((request.class.as_ref(), request.subclass.as_ref()), ("core", "core"));
        assert_eq!(request.cmd, "ping");
        assert!(matches!(request.class, Cow::Borrowed(_)));
        assert_eq!(request.tid.unwrap().get(), "\"a\"");
        assert!(request.data.is_none());
    }

    #[test]
    fn what_is_no_message() {
        for frame in ["", "[]", "1", "{", "{\"class\":1}", "\u{0}"] {
            assert!(parse(&Bytes::copy_from_slice(frame.as_bytes())).is_err(), "{frame:?}");
        }
        for frame in ["{}", "{\"ack\":\"x\"}", "{\"cmd\":\"x\"}"] {
            let frame = Bytes::copy_from_slice(frame.as_bytes());
            assert!(matches!(parse(&frame), Ok(Incoming::Unknown)), "{frame:?}");
        }
        let ack = Bytes::from_static(b"{\"ack\":12}");
        assert!(matches!(parse(&ack), Ok(Incoming::Ack { tid: 12 })));
    }
}
