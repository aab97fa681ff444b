//! WebSocket messages come out the same, however the network cuts the stream into pieces.
#![no_main]

use jackfield::codec::Framing;
use jackfield_fuzz::{Got, Stream, messages_of};
use libfuzzer_sys::fuzz_target;

/// Small, so that the limit is reached often.
const LIMIT: usize = 200;

fuzz_target!(|input: &[u8]| {
    let Some(stream) = Stream::read(input) else { return };
    let whole = messages_of(Framing::WebSocket, LIMIT, &[stream.whole]);
    assert_eq!(whole, messages_of(Framing::WebSocket, LIMIT, &stream.pieces), "the pieces changed the messages");
    for got in &whole {
        assert!(!matches!(got, Got::Message(text) if text.len() > LIMIT));
    }
});
