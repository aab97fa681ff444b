//! WebSocket messages come out the same, however the network cuts the stream into pieces.
#![no_main]

use jackfield::transport::{Inbound, WebSocket};
use jackfield_fuzz::{Got, Stream};
use libfuzzer_sys::fuzz_target;

/// Small, so that the limit is reached often.
const LIMIT: usize = 200;

fuzz_target!(|input: &[u8]| {
    let Some(stream) = Stream::read(input) else { return };
    let whole = messages_of(&[stream.whole]);
    assert_eq!(whole, messages_of(&stream.pieces), "the pieces changed the messages");
    for got in &whole {
        assert!(!matches!(got, Got::Message(text) if text.len() > LIMIT));
    }
});

/// Every message up to what ends the connection.
fn messages_of(pieces: &[&[u8]]) -> Vec<Got> {
    let mut websocket = WebSocket::new(LIMIT);
    let mut messages = Vec::new();
    for piece in pieces {
        websocket.push(piece);
        loop {
            let next = websocket.next_message(LIMIT);
            websocket.take_output();
            let end = match next {
                Ok(Some(Inbound::Message(text))) => {
                    messages.push(Got::Message(text.to_string()));
                    continue;
                }
                Ok(None) => break,
                Ok(Some(Inbound::Close)) => Got::Close,
                Err(violation) => violation.into(),
            };
            messages.push(end);
            return messages;
        }
    }
    messages
}
