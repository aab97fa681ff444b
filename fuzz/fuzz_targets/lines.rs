//! A stream of lines comes out the same, however the network cuts it into pieces.
#![no_main]

use jackfield::transport::LineBuffer;
use jackfield_fuzz::{Got, Stream};
use libfuzzer_sys::fuzz_target;

/// Small, so that the limit is reached often.
const LIMIT: usize = 64;

fuzz_target!(|input: &[u8]| {
    let Some(stream) = Stream::read(input) else { return };
    let whole = lines_of(&[stream.whole]);
    assert_eq!(whole, lines_of(&stream.pieces), "the pieces changed the lines");
    for got in &whole {
        let Got::Message(line) = got else { continue };
        assert!(!line.is_empty() && line.len() <= LIMIT && !line.contains('\n'), "{line:?}");
    }
});

/// Every line up to the first that may not be, which ends a connection.
fn lines_of(pieces: &[&[u8]]) -> Vec<Got> {
    let mut buffer = LineBuffer::default();
    let mut lines = Vec::new();
    for piece in pieces {
        buffer.push(piece);
        loop {
            match buffer.next_line(LIMIT) {
                Ok(Some(line)) => lines.push(Got::Message(line.to_string())),
                Ok(None) => break,
                Err(violation) => {
                    lines.push(violation.into());
                    return lines;
                }
            }
        }
    }
    lines
}
