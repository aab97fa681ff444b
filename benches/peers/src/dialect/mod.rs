//! How each system is spoken to. What differs between two measurements is this, and nothing else.

mod echo;
mod jackfield;
mod json;
mod mqtt;
mod nats;
mod redis;

pub(crate) use self::{
    echo::Echo,
    jackfield::{Events, Jackfield},
    mqtt::Mqtt,
    nats::Nats,
    redis::Redis,
};

use crate::framing::{Inbox, Outbox};

/// What a server says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Incoming<'a> {
    /// It has done what `login`, `subscribe` or `serve` asked.
    Ready,
    /// It has taken an event, and says so.
    Accepted,
    /// Somebody published this, or asks it: then there is where to reply to.
    Delivery { payload: &'a [u8], reply_to: &'a [u8] },
    /// The answer to that request.
    Answer { tid: u64, payload: &'a [u8] },
    /// The dialect's own business, done with.
    Housekeeping,
}

/// The protocol of one connection, on byte buffers.
///
/// What a system cannot do says nothing: it is not asked to.
pub(crate) trait Dialect: Send {
    /// Makes the server know this client; `Ready` follows.
    fn login(&mut self, name: &str, out: &mut Outbox);

    /// Has events of this topic delivered; `Ready` follows.
    fn subscribe(&mut self, _topic: &str, _out: &mut Outbox) {}

    /// Has requests to this name delivered; `Ready` follows.
    fn serve(&mut self, _name: &str, _out: &mut Outbox) {}

    /// Before the first request to another client; nothing follows.
    fn await_answers(&mut self, _out: &mut Outbox) {}

    /// An event of this topic.
    fn publish(&mut self, _topic: &str, _payload: &[u8], _out: &mut Outbox) {}

    /// Whether every `publish` is followed by `Accepted` or an `Answer`.
    fn confirms(&self) -> bool {
        false
    }

    /// A request to the client that serves this name.
    fn request(&mut self, _to: &str, _tid: u64, _payload: &[u8], _out: &mut Outbox) {}

    /// A request that the server itself answers.
    fn ask_server(&mut self, _tid: u64, _payload: &[u8], _out: &mut Outbox) {}

    /// The answer to a delivered request.
    fn reply(&mut self, _reply_to: &[u8], _payload: &[u8], _out: &mut Outbox) {}

    /// What is said before the connection is closed.
    fn goodbye(&mut self, _out: &mut Outbox) {}

    /// What comes next of what was read.
    ///
    /// # Errors
    ///
    /// The server refuses, or says what it may not.
    fn next<'a>(&mut self, inbox: &'a mut Inbox, out: &mut Outbox) -> Result<Option<Incoming<'a>>, String>;
}

/// A number as text.
fn digits(number: u64, buffer: &mut [u8; 20]) -> &[u8] {
    let mut rest = number;
    let mut start = buffer.len();
    for place in buffer.iter_mut().rev() {
        *place = b'0' + (rest % 10) as u8;
        rest /= 10;
        start -= 1;
        if rest == 0 {
            break;
        }
    }
    buffer.get(start..).unwrap_or_default()
}

/// Text as a number.
fn number(digits: &[u8]) -> Option<u64> {
    let digit = |byte: &u8| byte.is_ascii_digit().then(|| u64::from(byte - b'0'));
    let value =
        digits.iter().try_fold(0_u64, |number, byte| number.checked_mul(10)?.checked_add(digit(byte)?));
    value.filter(|_| !digits.is_empty())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::framing::{Framing, tests::unmasked};

    /// What was heard, with its own copy of the bytes.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) enum Spoken {
        Ready,
        Accepted,
        Delivery(String, String),
        Answer(u64, String),
    }

    fn text(bytes: &[u8]) -> String {
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    /// Everything that is heard of these bytes in pieces, and what the dialect answers by itself.
    pub(crate) fn hear(
        dialect: &mut dyn Dialect,
        framing: Framing,
        bytes: &[u8],
        piece: usize,
    ) -> (Vec<Spoken>, Vec<u8>) {
        let (mut inbox, mut outbox) = (Inbox::new(framing), Outbox::new(framing));
        let mut heard = Vec::new();
        for piece in bytes.chunks(piece) {
            inbox.push(piece);
            while let Some(incoming) = dialect.next(&mut inbox, &mut outbox).unwrap() {
                heard.push(match incoming {
                    Incoming::Ready => Spoken::Ready,
                    Incoming::Accepted => Spoken::Accepted,
                    Incoming::Delivery { payload, reply_to } => {
                        Spoken::Delivery(text(payload), text(reply_to))
                    }
                    Incoming::Answer { tid, payload } => Spoken::Answer(tid, text(payload)),
                    Incoming::Housekeeping => continue,
                });
            }
        }
        (heard, unmasked(&mut outbox))
    }

    /// What a server would read of what `speak` puts.
    pub(crate) fn said(framing: Framing, speak: impl FnOnce(&mut Outbox)) -> Vec<u8> {
        let mut outbox = Outbox::new(framing);
        speak(&mut outbox);
        unmasked(&mut outbox)
    }

    #[test]
    fn numbers_are_written_as_they_are_read() {
        for value in [0, 9, 10, 1234, u64::MAX] {
            let mut buffer = [0; 20];
            assert_eq!(digits(value, &mut buffer), value.to_string().as_bytes());
            assert_eq!(number(value.to_string().as_bytes()), Some(value));
        }
        for wrong in ["", "x", "-1", "1.5", "18446744073709551616"] {
            assert_eq!(number(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
