//! NATS: a text protocol, the same over TCP and inside WebSocket frames.

use super::{Dialect, Incoming, digits, number};
use crate::framing::{Inbox, Outbox};

const DELIVERIES: &[u8] = b"1";
const ANSWERS: &[u8] = b"2";

/// A NATS client.
#[derive(Debug, Default)]
pub(crate) struct Nats {
    /// Where answers to this client's requests go; the request's number follows.
    inbox: String,
}

impl Nats {
    fn put_pub(subject: &[&[u8]], payload: &[u8], out: &mut Outbox) {
        let mut buffer = [0; 20];
        let length = digits(payload.len() as u64, &mut buffer);
        out.put_stream(&[b"PUB "]);
        out.put_stream(subject);
        out.put_stream(&[b" ", length, b"\r\n", payload, b"\r\n"]);
    }
}

impl Dialect for Nats {
    fn login(&mut self, name: &str, out: &mut Outbox) {
        self.inbox = format!("_INBOX.{name}.");
        let options = "{\"verbose\":false,\"pedantic\":false,\"tls_required\":false,\"lang\":\"rust\",\"version\":\"1\",\"protocol\":1}";
        out.put_stream(&[b"CONNECT ", options.as_bytes(), b"\r\nPING\r\n"]);
    }

    fn subscribe(&mut self, topic: &str, out: &mut Outbox) {
        out.put_stream(&[b"SUB ", topic.as_bytes(), b" ", DELIVERIES, b"\r\nPING\r\n"]);
    }

    fn serve(&mut self, name: &str, out: &mut Outbox) {
        self.subscribe(&format!("serve.{name}"), out);
    }

    fn await_answers(&mut self, out: &mut Outbox) {
        out.put_stream(&[b"SUB ", self.inbox.as_bytes(), b"* ", ANSWERS, b"\r\n"]);
    }

    fn publish(&mut self, topic: &str, payload: &[u8], out: &mut Outbox) {
        Self::put_pub(&[topic.as_bytes()], payload, out);
    }

    fn request(&mut self, to: &str, tid: u64, payload: &[u8], out: &mut Outbox) {
        let mut buffer = [0; 20];
        let tid = digits(tid, &mut buffer);
        Self::put_pub(&[b"serve.", to.as_bytes(), b" ", self.inbox.as_bytes(), tid], payload, out);
    }

    fn reply(&mut self, reply_to: &[u8], payload: &[u8], out: &mut Outbox) {
        Self::put_pub(&[reply_to], payload, out);
    }

    fn next<'a>(&mut self, inbox: &'a mut Inbox, out: &mut Outbox) -> Result<Option<Incoming<'a>>, String> {
        let (bytes, taken) = inbox.unread()?;
        let Some(end) = memchr::memchr(b'\n', bytes) else { return Ok(None) };
        let (line, rest) = bytes.split_at_checked(end + 1).unwrap_or_default();
        let line = line.strip_suffix(b"\r\n").ok_or("a line without its end")?;
        if let Some(head) = line.strip_prefix(b"MSG ") {
            let Some((incoming, length)) = message(head, rest)? else { return Ok(None) };
            *taken += end + 1 + length;
            return Ok(Some(incoming));
        }
        *taken += end + 1;
        match line {
            b"PONG" => return Ok(Some(Incoming::Ready)),
            b"PING" => out.put_stream(&[b"PONG\r\n"]),
            _ if line.starts_with(b"INFO ") => {}
            _ => return Err(format!("nats-server says {}", String::from_utf8_lossy(line))),
        }
        Ok(Some(Incoming::Housekeeping))
    }
}

/// `subject sid [reply-to] length`, and the payload behind it; how long that is, its line end included.
fn message<'a>(head: &'a [u8], rest: &'a [u8]) -> Result<Option<(Incoming<'a>, usize)>, String> {
    let wrong = || format!("a wrong MSG: {}", String::from_utf8_lossy(head));
    let mut words = head.split(|byte| *byte == b' ');
    let mut word = || words.next();
    let (Some(subject), Some(sid), Some(third), fourth) = (word(), word(), word(), word()) else {
        return Err(wrong());
    };
    let (reply_to, length) = fourth.map_or((&b""[..], third), |length| (third, length));
    let length = number(length).and_then(|length| usize::try_from(length).ok()).ok_or_else(wrong)?;
    let Some((payload, line_end)) = rest.get(..length + 2).and_then(|whole| whole.split_at_checked(length))
    else {
        return Ok(None);
    };
    if line_end != b"\r\n" {
        return Err(wrong());
    }
    let incoming = if sid == ANSWERS {
        let tid = subject.rsplit(|byte| *byte == b'.').next().and_then(number);
        Incoming::Answer { tid: tid.ok_or_else(wrong)?, payload }
    } else {
        Incoming::Delivery { payload, reply_to }
    };
    Ok(Some((incoming, length + 2)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        dialect::tests::{Spoken, hear, said},
        framing::{Framing, tests::framed},
    };

    const SPOKEN: &[u8] = b"INFO {\"server_id\":\"X\"}\r\nPONG\r\nPING\r\nMSG t 1 5\r\nhello\r\n\
        MSG serve.a 1 _INBOX.b.7 6\r\nhe\r\nlo\r\nMSG _INBOX.b.12 2 0\r\n\r\n";

    #[test]
    fn what_the_server_says_is_understood_however_it_is_cut() {
        let expected = [
            Spoken::Ready,
            Spoken::Delivery("hello".into(), String::new()),
            Spoken::Delivery("he\r\nlo".into(), "_INBOX.b.7".into()),
            Spoken::Answer(12, String::new()),
        ];
        for piece in 1..SPOKEN.len() {
            let plain = hear(&mut Nats::default(), Framing::Plain, SPOKEN, piece);
            assert_eq!(plain, (expected.to_vec(), b"PONG\r\n".to_vec()), "pieces of {piece}");
            let framed = hear(&mut Nats::default(), Framing::Binary, &framed(SPOKEN, piece), 7);
            assert_eq!(framed, plain, "frames of {piece}");
        }
    }

    #[test]
    fn errors_are_errors() {
        for wrong in [&b"-ERR 'Authorization Violation'\r\n"[..], b"MSG t 1 x\r\n", b"MSG t 1 1\r\nabc"] {
            let mut inbox = Inbox::new(Framing::Plain);
            inbox.push(wrong);
            Nats::default().next(&mut inbox, &mut Outbox::new(Framing::Plain)).unwrap_err();
        }
    }

    #[test]
    fn what_is_said_is_the_protocol() {
        let mut nats = Nats::default();
        let said = said(Framing::Binary, |out| {
            nats.login("me", out);
            nats.subscribe("t", out);
            nats.serve("me", out);
            nats.await_answers(out);
            nats.publish("t", b"hello", out);
            nats.request("you", 12, b"hi", out);
            nats.reply(b"_INBOX.you.3", b"", out);
        });
        let said = String::from_utf8(said).unwrap();
        let (login, rest) = said.split_once("PING\r\n").unwrap();
        assert!(login.starts_with("CONNECT {\"verbose\":false"), "{login}");
        let expected = "SUB t 1\r\nPING\r\nSUB serve.me 1\r\nPING\r\nSUB _INBOX.me.* 2\r\nPUB t 5\r\nhello\r\n\
            PUB serve.you _INBOX.me.12 2\r\nhi\r\nPUB _INBOX.you.3 0\r\n\r\n";
        assert_eq!(rest, expected);
    }
}
