//! MQTT 3.1.1, quality of service 0: one packet a WebSocket message, or packets in a row.

use super::{Dialect, Incoming};
use crate::framing::{Inbox, Outbox};

const CONNECT: u8 = 0x10;
const CONNACK: u8 = 0x20;
const PUBLISH: u8 = 0x30;
const SUBSCRIBE: u8 = 0x82;
const SUBACK: u8 = 0x90;
const PINGRESP: u8 = 0xD0;
const DISCONNECT: u8 = 0xE0;

/// An MQTT client.
#[derive(Debug, Default)]
pub(crate) struct Mqtt;

fn put_packet(kind: u8, parts: [&[u8]; 3], out: &mut Outbox) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut buffer = [0; 4];
    let length = remaining_length(length, &mut buffer);
    let [first, second, third] = parts;
    out.put(&[&[kind], length, first, second, third]);
}

/// Seven bits a byte, the lowest first.
fn remaining_length(length: usize, buffer: &mut [u8; 4]) -> &[u8] {
    let mut rest = length;
    let mut used = 0;
    for place in buffer.iter_mut() {
        *place = (rest & 0x7F) as u8;
        rest >>= 7;
        used += 1;
        if rest == 0 {
            break;
        }
        *place |= 0x80;
    }
    buffer.get(..used).unwrap_or_default()
}

/// How long the packet behind its first byte is, and how many bytes say so.
fn read_length(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut length = 0;
    for (place, byte) in bytes.iter().take(4).enumerate() {
        length |= usize::from(byte & 0x7F) << (7 * place);
        if byte & 0x80 == 0 {
            return Some((length, place + 1));
        }
    }
    None
}

/// The length of a string as it precedes it. Names are short.
fn string_head(text: &str) -> [u8; 2] {
    u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes()
}

impl Dialect for Mqtt {
    fn login(&mut self, name: &str, out: &mut Outbox) {
        // Protocol name, level 4, clean session, no keep-alive.
        let head = [b"\x00\x04MQTT\x04\x02\x00\x00", &string_head(name)[..]].concat();
        put_packet(CONNECT, [&head, name.as_bytes(), b""], out);
    }

    fn subscribe(&mut self, topic: &str, out: &mut Outbox) {
        let head = [b"\x00\x01", &string_head(topic)[..]].concat();
        put_packet(SUBSCRIBE, [&head, topic.as_bytes(), b"\x00"], out);
    }

    fn publish(&mut self, topic: &str, payload: &[u8], out: &mut Outbox) {
        put_packet(PUBLISH, [&string_head(topic), topic.as_bytes(), payload], out);
    }

    fn goodbye(&mut self, out: &mut Outbox) {
        put_packet(DISCONNECT, [b"", b"", b""], out);
    }

    fn next<'a>(&mut self, inbox: &'a mut Inbox, _out: &mut Outbox) -> Result<Option<Incoming<'a>>, String> {
        let (bytes, taken) = inbox.unread()?;
        let Some((kind, rest)) = bytes.split_first() else { return Ok(None) };
        let Some((length, head)) = read_length(rest) else { return Ok(None) };
        let Some(packet) = rest.get(head..head + length) else { return Ok(None) };
        *taken += 1 + head + length;
        let incoming = match (kind & 0xF0, packet) {
            (CONNACK, [_, 0]) | (SUBACK, [_, _, 0]) => Incoming::Ready,
            (PUBLISH, _) => {
                let payload = published(packet).ok_or("a wrong PUBLISH")?;
                Incoming::Delivery { payload, reply_to: b"" }
            }
            (PINGRESP, []) => Incoming::Housekeeping,
            _ => return Err(format!("an unexpected packet {kind:#x} {packet:x?}")),
        };
        Ok(Some(incoming))
    }
}

/// What stands behind the topic.
fn published(packet: &[u8]) -> Option<&[u8]> {
    let (length, rest) = packet.split_first_chunk::<2>()?;
    rest.get(usize::from(u16::from_be_bytes(*length))..)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        dialect::tests::{Spoken, hear, said},
        framing::{Framing, tests::framed},
    };

    #[test]
    fn what_the_server_says_is_understood_however_it_is_cut() {
        let long = "x".repeat(200);
        let mut spoken =
            b"\x20\x02\x00\x00\x90\x03\x00\x01\x00\x30\x08\x00\x01thello\xd0\x00\x30\xcb\x01\x00\x01t"
                .to_vec();
        spoken.extend_from_slice(long.as_bytes());
        let delivery = |text: &str| Spoken::Delivery(text.into(), String::new());
        let expected = [Spoken::Ready, Spoken::Ready, delivery("hello"), delivery(&long)];
        for piece in 1..spoken.len() {
            assert_eq!(hear(&mut Mqtt, Framing::Plain, &spoken, piece).0, expected, "pieces of {piece}");
            let frames = framed(&spoken, piece);
            assert_eq!(hear(&mut Mqtt, Framing::Binary, &frames, 7).0, expected, "frames of {piece}");
        }
    }

    #[test]
    fn a_refusal_is_an_error() {
        for wrong in [&b"\x20\x02\x00\x05"[..], b"\x90\x03\x00\x01\x80", b"\x30\x01x"] {
            let mut inbox = Inbox::new(Framing::Plain);
            inbox.push(wrong);
            Mqtt.next(&mut inbox, &mut Outbox::new(Framing::Plain)).unwrap_err();
        }
    }

    #[test]
    fn what_is_said_is_the_protocol() {
        let said = said(Framing::Binary, |out| {
            Mqtt.login("me", out);
            Mqtt.subscribe("t", out);
            Mqtt.publish("t", b"hello", out);
            Mqtt.goodbye(out);
        });
        let expected = b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x00\x00\x02me\x82\x06\x00\x01\x00\x01t\x00\x30\x08\x00\x01thello\xe0\x00";
        assert_eq!(said, expected);
    }

    #[test]
    fn lengths_are_written_as_they_are_read() {
        for length in [0, 1, 127, 128, 203, 16_383, 16_384, 2_097_152] {
            let mut buffer = [0; 4];
            let written = remaining_length(length, &mut buffer);
            assert_eq!(read_length(written), Some((length, written.len())));
        }
    }
}
