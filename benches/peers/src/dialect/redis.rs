//! Redis' publish and subscribe, in RESP2.

use super::{Dialect, Incoming, digits, number};
use crate::framing::{Inbox, Outbox};

/// A Redis client.
#[derive(Debug, Default)]
pub(crate) struct Redis;

fn put_bulk(text: &[u8], out: &mut Outbox) {
    let mut buffer = [0; 20];
    out.put(&[b"$", digits(text.len() as u64, &mut buffer), b"\r\n", text, b"\r\n"]);
}

impl Dialect for Redis {
    fn login(&mut self, _name: &str, out: &mut Outbox) {
        out.put(&[b"*1\r\n$4\r\nPING\r\n"]);
    }

    fn subscribe(&mut self, topic: &str, out: &mut Outbox) {
        out.put(&[b"*2\r\n$9\r\nSUBSCRIBE\r\n"]);
        put_bulk(topic.as_bytes(), out);
    }

    fn publish(&mut self, topic: &str, payload: &[u8], out: &mut Outbox) {
        out.put(&[b"*3\r\n$7\r\nPUBLISH\r\n"]);
        put_bulk(topic.as_bytes(), out);
        put_bulk(payload, out);
    }

    fn confirms(&self) -> bool {
        true
    }

    fn next<'a>(&mut self, inbox: &'a mut Inbox, _out: &mut Outbox) -> Result<Option<Incoming<'a>>, String> {
        let (bytes, taken) = inbox.unread()?;
        let Some((line, rest)) = line(bytes) else { return Ok(None) };
        let (incoming, rest) = match line {
            b"+PONG" => (Incoming::Ready, rest),
            b"*3" => match message(rest)? {
                Some(message) => message,
                None => return Ok(None),
            },
            _ if line.starts_with(b":") => (Incoming::Accepted, rest),
            _ => return Err(format!("redis-server says {}", String::from_utf8_lossy(line))),
        };
        *taken += bytes.len() - rest.len();
        Ok(Some(incoming))
    }
}

fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (line, rest) = bytes.split_at_checked(memchr::memchr(b'\n', bytes)? + 1)?;
    Some((line.strip_suffix(b"\r\n")?, rest))
}

/// What was taken, and what follows it; nothing where it is not whole.
type Taken<'a, T> = Result<Option<(T, &'a [u8])>, String>;

/// Kind, topic, and payload or count.
fn message(bytes: &[u8]) -> Taken<'_, Incoming<'_>> {
    let Some((kind, rest)) = item(bytes)? else { return Ok(None) };
    let Some((_, rest)) = item(rest)? else { return Ok(None) };
    let Some((payload, rest)) = item(rest)? else { return Ok(None) };
    match kind {
        b"message" => Ok(Some((Incoming::Delivery { payload, reply_to: b"" }, rest))),
        b"subscribe" => Ok(Some((Incoming::Ready, rest))),
        _ => Err(format!("an unexpected {}", String::from_utf8_lossy(kind))),
    }
}

/// A bulk string or an integer.
fn item(bytes: &[u8]) -> Taken<'_, &[u8]> {
    let Some((line, rest)) = line(bytes) else { return Ok(None) };
    if let Some(integer) = line.strip_prefix(b":") {
        return Ok(Some((integer, rest)));
    }
    let length = line.strip_prefix(b"$").and_then(number).and_then(|length| usize::try_from(length).ok());
    let length = length.ok_or_else(|| format!("a wrong string: {}", String::from_utf8_lossy(line)))?;
    Ok(rest.get(length + 2..).and_then(|after| Some((rest.get(..length)?, after))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        dialect::tests::{Spoken, hear, said},
        framing::Framing,
    };

    const SPOKEN: &[u8] = b"+PONG\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nt\r\n:1\r\n\
        *3\r\n$7\r\nmessage\r\n$1\r\nt\r\n$6\r\nhe\r\nlo\r\n:100\r\n";

    #[test]
    fn what_the_server_says_is_understood_however_it_is_cut() {
        let delivery = Spoken::Delivery("he\r\nlo".into(), String::new());
        let expected = [Spoken::Ready, Spoken::Ready, delivery, Spoken::Accepted];
        for piece in 1..SPOKEN.len() {
            assert_eq!(hear(&mut Redis, Framing::Plain, SPOKEN, piece).0, expected, "pieces of {piece}");
        }
    }

    #[test]
    fn errors_are_errors() {
        for wrong in [&b"-ERR no\r\n"[..], b"*3\r\n$x\r\n"] {
            let mut inbox = Inbox::new(Framing::Plain);
            inbox.push(wrong);
            Redis.next(&mut inbox, &mut Outbox::new(Framing::Plain)).unwrap_err();
        }
    }

    #[test]
    fn what_is_said_is_the_protocol() {
        let said = said(Framing::Plain, |out| {
            Redis.login("me", out);
            Redis.subscribe("t", out);
            Redis.publish("t", b"hello", out);
        });
        let expected = b"*1\r\n$4\r\nPING\r\n*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\nt\r\n\
            *3\r\n$7\r\nPUBLISH\r\n$1\r\nt\r\n$5\r\nhello\r\n";
        assert_eq!(said, expected);
    }
}
