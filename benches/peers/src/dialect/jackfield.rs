//! Jackfield's External API: one JSON object a WebSocket message, or a line.

use super::{
    Dialect, Incoming, digits,
    json::{self, field},
    number,
};
use crate::framing::{Framing, Inbox, Outbox};

const READY: &[u8] = b"\"ready\"";

/// Whether events are to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Events {
    Push,
    Ack,
}

/// A session.
#[derive(Debug)]
pub(crate) struct Jackfield {
    events: Events,
    ending: &'static [u8],
    published: u64,
}

impl Jackfield {
    pub(crate) fn new(framing: Framing, events: Events) -> Self {
        Self { events, ending: ending(framing), published: 0 }
    }

    fn ready(&self, command: &str, data: &str, out: &mut Outbox) {
        let message = format!("{{\"class\":\"core\",{command},\"data\":{{{data}}},\"tid\":\"ready\"}}");
        out.put(&[message.as_bytes(), self.ending]);
    }

    fn event<'a>(&self, message: &Envelope<'a>, out: &mut Outbox) -> Result<Incoming<'a>, String> {
        let body = message.data.and_then(|data| field(data, b"body"));
        if let Some(tid) = message.tid {
            out.put(&[b"{\"result\":\"ok\",\"tid\":", tid, b"}", self.ending]);
        }
        body.map(|payload| Incoming::Delivery { payload, reply_to: b"" })
            .ok_or_else(|| "an event without a body".into())
    }
}

/// What ends a message.
pub(super) fn ending(framing: Framing) -> &'static [u8] {
    if framing == Framing::Plain { b"\n" } else { b"" }
}

/// Appends the request that the broker itself answers.
pub(super) fn put_ping(tid: u64, payload: &[u8], ending: &[u8], out: &mut Outbox) {
    let mut buffer = [0; 20];
    let tid = digits(tid, &mut buffer);
    out.put(&[b"{\"class\":\"core\",\"cmd\":\"ping\",\"data\":", payload, b",\"tid\":", tid, b"}", ending]);
}

#[derive(Debug, Default)]
struct Envelope<'a> {
    class: Option<&'a [u8]>,
    cmd: Option<&'a [u8]>,
    result: Option<&'a [u8]>,
    data: Option<&'a [u8]>,
    tid: Option<&'a [u8]>,
    ack: Option<&'a [u8]>,
}

fn envelope(message: &[u8]) -> Envelope<'_> {
    let mut envelope = Envelope::default();
    for (key, value) in json::fields(message) {
        let place = match key {
            b"class" => &mut envelope.class,
            b"cmd" => &mut envelope.cmd,
            b"result" => &mut envelope.result,
            b"data" => &mut envelope.data,
            b"tid" => &mut envelope.tid,
            b"ack" => &mut envelope.ack,
            _ => continue,
        };
        *place = Some(value);
    }
    envelope
}

impl Dialect for Jackfield {
    fn login(&mut self, name: &str, out: &mut Outbox) {
        let events = if self.events == Events::Ack { "ack" } else { "push" };
        let data = format!("\"user\":\"bench\",\"session_id\":\"{name}\",\"events\":\"{events}\"");
        self.ready("\"subclass\":\"user\",\"cmd\":\"login\"", &data, out);
    }

    fn subscribe(&mut self, topic: &str, out: &mut Outbox) {
        let data = format!("\"class\":\"bench\",\"obj_id\":\"{topic}\"");
        self.ready("\"subclass\":\"event\",\"cmd\":\"subscribe\"", &data, out);
    }

    /// Every session can be commanded.
    fn serve(&mut self, _name: &str, out: &mut Outbox) {
        self.ready("\"cmd\":\"ping\"", "", out);
    }

    fn publish(&mut self, topic: &str, payload: &[u8], out: &mut Outbox) {
        let mut buffer = [0; 20];
        let tid = digits(self.published, &mut buffer);
        self.published += 1;
        out.put(&[
            b"{\"class\":\"core\",\"subclass\":\"event\",\"cmd\":\"send_event\",\"data\":{\"class\":\"bench\",\"obj_id\":\"",
            topic.as_bytes(),
            b"\",\"body\":",
            payload,
            b"},\"tid\":",
            tid,
            b"}",
            self.ending,
        ]);
    }

    fn confirms(&self) -> bool {
        true
    }

    fn request(&mut self, to: &str, tid: u64, payload: &[u8], out: &mut Outbox) {
        let mut buffer = [0; 20];
        let tid = digits(tid, &mut buffer);
        out.put(&[
            b"{\"class\":\"core\",\"subclass\":\"session\",\"cmd\":\"cmd\",\"data\":{\"session_id\":\"",
            to.as_bytes(),
            b"\",\"class\":\"bench\",\"cmd\":\"echo\",\"data\":",
            payload,
            b"},\"tid\":",
            tid,
            b"}",
            self.ending,
        ]);
    }

    fn ask_server(&mut self, tid: u64, payload: &[u8], out: &mut Outbox) {
        put_ping(tid, payload, self.ending, out);
    }

    fn reply(&mut self, reply_to: &[u8], payload: &[u8], out: &mut Outbox) {
        out.put(&[b"{\"result\":\"ok\",\"data\":", payload, b",\"tid\":", reply_to, b"}", self.ending]);
    }

    fn next<'a>(&mut self, inbox: &'a mut Inbox, out: &mut Outbox) -> Result<Option<Incoming<'a>>, String> {
        let Some(text) = inbox.message()? else { return Ok(None) };
        let message = envelope(text);
        let wrong = || format!("unexpected: {}", String::from_utf8_lossy(text));
        let incoming = match message {
            Envelope { result: Some(b"\"ok\""), tid: Some(READY), .. } => Incoming::Ready,
            Envelope { result: Some(b"\"ok\""), tid: Some(tid), data, .. } => {
                Incoming::Answer { tid: number(tid).ok_or_else(wrong)?, payload: data.unwrap_or_default() }
            }
            Envelope { class: Some(b"\"core\""), cmd: Some(b"\"event\""), .. } => {
                self.event(&message, out)?
            }
            Envelope { class: Some(b"\"core\""), tid: Some(tid), .. } => {
                self.reply(tid, b"{}", out);
                Incoming::Housekeeping
            }
            Envelope { class: Some(_), data: Some(payload), tid: Some(reply_to), .. } => {
                Incoming::Delivery { payload, reply_to }
            }
            Envelope { ack: Some(_), .. } => Incoming::Housekeeping,
            _ => return Err(wrong()),
        };
        Ok(Some(incoming))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::tests::{Spoken, hear, said};

    const SPOKEN: &str = concat!(
        r#"{"result":"ok","data":{"session_id":"a"},"tid":"ready"}"#,
        "\n",
        r#"{"class":"core","cmd":"event","data":{"class":"bench","obj_id":"t","body":{"x":1}},"tid":5}"#,
        "\n",
        r#"{"class":"bench","subclass":"core","cmd":"echo","data":{"y":2},"tid":6}"#,
        "\n",
        r#"{"class":"core","cmd":"ping","data":{"time":60},"tid":7}"#,
        "\n",
        r#"{"ack":3}"#,
        "\n",
        r#"{"result":"ok","data":{"z":3},"tid":3}"#,
        "\n",
        r#"{"tid":4,"result":"ok"}"#,
        "\n",
    );

    #[test]
    fn what_the_broker_says_is_understood_however_it_is_cut() {
        let expected = [
            Spoken::Ready,
            Spoken::Delivery("{\"x\":1}".into(), String::new()),
            Spoken::Delivery("{\"y\":2}".into(), "6".into()),
            Spoken::Answer(3, "{\"z\":3}".into()),
            Spoken::Answer(4, String::new()),
        ];
        for piece in 1..SPOKEN.len() {
            let mut dialect = Jackfield::new(Framing::Plain, Events::Ack);
            let (heard, answered) = hear(&mut dialect, Framing::Plain, SPOKEN.as_bytes(), piece);
            assert_eq!(heard, expected, "pieces of {piece}");
            let answers = "{\"result\":\"ok\",\"tid\":5}\n{\"result\":\"ok\",\"data\":{},\"tid\":7}\n";
            assert_eq!(String::from_utf8(answered).unwrap(), answers);
        }
    }

    #[test]
    fn errors_are_errors() {
        let mut inbox = Inbox::new(Framing::Plain);
        inbox.push(b"{\"result\":\"error\",\"data\":{\"code\":1},\"tid\":1}\n");
        let mut dialect = Jackfield::new(Framing::Plain, Events::Push);
        dialect.next(&mut inbox, &mut Outbox::new(Framing::Plain)).unwrap_err();
    }

    #[test]
    fn what_is_said_is_json_with_the_payload_as_it_was() {
        for framing in [Framing::Plain, Framing::Text] {
            let mut dialect = Jackfield::new(framing, Events::Push);
            let said = said(framing, |out| {
                dialect.login("me", out);
                dialect.subscribe("t", out);
                dialect.publish("t", b"{\"x\":1}", out);
                dialect.request("you", 12, b"{\"x\":2}", out);
                dialect.ask_server(13, b"{\"x\":3}", out);
                dialect.reply(b"\"q\"", b"{\"x\":4}", out);
            });
            let messages = serde_json::Deserializer::from_slice(&said).into_iter::<serde_json::Value>();
            let messages: Vec<_> = messages.map(Result::unwrap).collect();
            assert_eq!(messages.len(), 6);
            assert_eq!(messages[0]["data"]["events"], "push");
            assert_eq!(messages[2]["data"]["body"]["x"], 1);
            assert_eq!((&messages[3]["data"]["data"]["x"], &messages[3]["tid"]), (&2.into(), &12.into()));
            assert_eq!((&messages[4]["data"]["x"], &messages[4]["tid"]), (&3.into(), &13.into()));
            assert_eq!((&messages[5]["data"]["x"], &messages[5]["tid"]), (&4.into(), &"q".into()));
        }
    }
}
