//! The protocol's messages, read with care. What comes by the thousand is first compared with a [`Shape`].

use serde::Deserialize;
use serde_json::value::RawValue;

use super::framing::Outbox;

/// What precedes the id in a message of the broker's, and in ours.
pub(super) const TID: &[u8] = b",\"tid\":";
const OK: &[u8] = b"{\"result\":\"ok\",\"tid\":";
const OK_WITH_DATA: &[u8] = b"{\"result\":\"ok\",\"data\":";

/// A message from the broker. Text is JSON text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Incoming<'a> {
    Answer { tid: Option<u64>, outcome: Result<&'a str, String> },
    Ack,
    Request { class: &'a str, cmd: &'a str, data: &'a str, tid: Option<&'a str> },
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default)]
    class: Option<&'a RawValue>,
    #[serde(borrow, default)]
    cmd: Option<&'a RawValue>,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tid: Option<&'a RawValue>,
    #[serde(borrow, default)]
    ack: Option<&'a RawValue>,
}

/// Reads any message. The error says what is wrong with it.
pub(super) fn parse(message: &[u8]) -> Result<Incoming<'_>, String> {
    let envelope: Envelope<'_> =
        serde_json::from_slice(message).map_err(|error| format!("a message that cannot be read: {error}"))?;
    let data = envelope.data.map_or("{}", RawValue::get);
    let tid = envelope.tid.map(RawValue::get);
    if let Some(result) = envelope.result {
        let outcome = if result.get() == "\"ok\"" { Ok(data) } else { Err(format!("error answer: {data}")) };
        return Ok(Incoming::Answer { tid: tid.and_then(|tid| tid.parse().ok()), outcome });
    }
    if envelope.ack.is_some() {
        return Ok(Incoming::Ack);
    }
    let (Some(class), Some(cmd)) = (envelope.class, envelope.cmd) else {
        return Err("a message that is none of the protocol's".into());
    };
    Ok(Incoming::Request { class: class.get(), cmd: cmd.get(), data, tid })
}

/// Appends a good answer.
pub(super) fn put_ok(outbox: &mut Outbox, tid: &str) {
    outbox.put(&[OK, tid.as_bytes(), b"}"]);
}

/// Appends a good answer with data.
pub(super) fn put_ok_with(outbox: &mut Outbox, data: &[u8], tid: &[u8]) {
    outbox.put(&[OK_WITH_DATA, data, TID, tid, b"}"]);
}

/// The id of a good answer without data, in the form that the broker writes.
pub(super) fn plain_ok(message: &[u8]) -> Option<u64> {
    number(message.strip_prefix(OK)?.strip_suffix(b"}")?)
}

/// Data and id of a good answer whose data has this length. That it is one value, the caller has to check.
pub(super) fn ok_with(message: &[u8], length: usize) -> Option<(&[u8], u64)> {
    let (data, rest) = message.strip_prefix(OK_WITH_DATA)?.split_at_checked(length)?;
    Some((data, number(rest.strip_prefix(TID)?.strip_suffix(b"}")?)?))
}

fn number(digits: &[u8]) -> Option<u64> {
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// What stands around the payload in messages that are otherwise alike, learnt from one that was read with care.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shape {
    before: Vec<u8>,
    payload: usize,
    after: Vec<u8>,
    tid: TidPlace,
}

#[derive(Debug, PartialEq, Eq)]
enum TidPlace {
    Nowhere,
    /// Digits between `after` and the last brace.
    Last,
}

impl Shape {
    /// Of a message of which these are parts. `None` where the parts do not stand as the broker puts them.
    pub(super) fn learn(message: &[u8], payload: &str, tid: Option<&str>) -> Option<Self> {
        let start = memchr::memmem::find(message, payload.as_bytes())?;
        let (before, rest) = message.split_at_checked(start)?;
        let rest = rest.get(payload.len()..)?;
        let (after, place) = match tid {
            None => (rest, TidPlace::Nowhere),
            Some(tid) => {
                number(tid.as_bytes())?;
                let after = rest.strip_suffix(b"}")?.strip_suffix(tid.as_bytes())?;
                (after.ends_with(TID).then_some(after)?, TidPlace::Last)
            }
        };
        Some(Self { before: before.to_vec(), payload: payload.len(), after: after.to_vec(), tid: place })
    }

    /// Payload and id of a message of this shape. That the payload is one value, the caller has to check.
    pub(super) fn split<'m>(&self, message: &'m [u8]) -> Option<(&'m [u8], Option<&'m [u8]>)> {
        let (payload, rest) = message.strip_prefix(&*self.before)?.split_at_checked(self.payload)?;
        let rest = rest.strip_prefix(&*self.after)?;
        match self.tid {
            TidPlace::Nowhere => rest.is_empty().then_some((payload, None)),
            TidPlace::Last => {
                let tid = rest.strip_suffix(b"}")?;
                number(tid)?;
                Some((payload, Some(tid)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_told_apart() {
        let answer = |tid, outcome| Ok(Incoming::Answer { tid, outcome });
        assert_eq!(parse(br#"{"result":"ok","tid":7}"#), answer(Some(7), Ok("{}")));
        assert_eq!(parse(br#"{"tid":7,"data":{"a":1},"result":"ok"}"#), answer(Some(7), Ok("{\"a\":1}")));
        let error = parse(br#"{"result":"error","data":{"code":1},"tid":null}"#);
        assert_eq!(error, answer(None, Err("error answer: {\"code\":1}".into())));
        assert_eq!(parse(br#"{"ack":1}"#), Ok(Incoming::Ack));
        let request = parse(br#"{"class":"core","cmd":"ping","data":{"time":60},"tid":3}"#);
        let (class, cmd, data) = ("\"core\"", "\"ping\"", "{\"time\":60}");
        assert_eq!(request, Ok(Incoming::Request { class, cmd, data, tid: Some("3") }));
        for wrong in ["", "hello", "{}", "{\"cmd\":1}"] {
            assert!(parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn answers_in_the_usual_form_are_known_by_it() {
        assert_eq!(plain_ok(br#"{"result":"ok","tid":17}"#), Some(17));
        assert_eq!(ok_with(br#"{"result":"ok","data":{"a":1},"tid":17}"#, 7), Some((&b"{\"a\":1}"[..], 17)));
        for other in [
            r#"{"result":"ok","tid":"1"}"#,
            r#"{"result":"error","tid":1}"#,
            r#"{"result":"ok","tid":1,"x":2}"#,
        ] {
            assert_eq!((plain_ok(other.as_bytes()), ok_with(other.as_bytes(), 1)), (None, None), "{other}");
        }
    }

    #[test]
    fn a_shape_fits_what_differs_in_payload_and_id_alone() {
        let message = |class: &str, body: &str, rest: &str| {
            format!("{{\"class\":\"{class}\",\"data\":{{\"body\":{body}}}{rest}}}").into_bytes()
        };
        let first = message("a", "{\"n\":1}", ",\"tid\":9");
        let shape = Shape::learn(&first, "{\"n\":1}", Some("9")).unwrap();
        let next = message("a", "{\"n\":2}", ",\"tid\":10");
        assert_eq!(shape.split(&next), Some((&b"{\"n\":2}"[..], Some(&b"10"[..]))));
        for other in
            [("b", "{\"n\":2}", ",\"tid\":1"), ("a", "{\"n\":12}", ",\"tid\":1"), ("a", "{\"n\":2}", "")]
        {
            assert_eq!(shape.split(&message(other.0, other.1, other.2)), None, "{other:?}");
        }
        let pushed = Shape::learn(&message("a", "{}", ""), "{}", None).unwrap();
        assert_eq!(pushed.split(&message("a", "[]", "")), Some((&b"[]"[..], None)));
        assert_eq!(Shape::learn(&first, "{\"n\":1}", Some("\"9\"")), None);
    }
}
