//! A stream of lines comes out the same, however the network cuts it into pieces.
#![no_main]

use jackfield::codec::Framing;
use jackfield_fuzz::{Got, Stream, messages_of};
use libfuzzer_sys::fuzz_target;

/// Small, so that the limit is reached often.
const LIMIT: usize = 64;

fuzz_target!(|input: &[u8]| {
    let Some(stream) = Stream::read(input) else { return };
    let whole = messages_of(Framing::Line, LIMIT, &[stream.whole]);
    assert_eq!(whole, messages_of(Framing::Line, LIMIT, &stream.pieces), "the pieces changed the lines");
    for got in &whole {
        let Got::Message(line) = got else { continue };
        assert!(!line.is_empty() && line.len() <= LIMIT && !line.contains('\n'), "{line:?}");
    }
});
