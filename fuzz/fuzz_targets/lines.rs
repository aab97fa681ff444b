//! A stream of lines comes out the same, however the network cuts it into pieces.
#![no_main]

use jackfield::transport::lines::LineBuffer;
use libfuzzer_sys::fuzz_target;

/// Small, so that the limit is reached often.
const LIMIT_BYTES: usize = 64;

fuzz_target!(|input: (Vec<u8>, Vec<u8>)| {
    let (stream, cuts) = input;
    let whole = lines_of([stream.as_slice()]);
    assert_eq!(whole, lines_of(pieces(&stream, &cuts)), "the pieces changed the lines");
});

/// Every line up to the first that is too long, which ends a connection; `None` stands for that one.
fn lines_of<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Option<Vec<u8>>> {
    let mut buffer = LineBuffer::new(LIMIT_BYTES);
    let mut lines = Vec::new();
    for piece in pieces {
        buffer.push(piece);
        loop {
            match buffer.next_line() {
                Ok(Some(line)) => lines.push(Some(line.to_vec())),
                Ok(None) => break,
                Err(_) => {
                    lines.push(None);
                    return lines;
                }
            }
        }
    }
    lines
}

/// Cuts the stream into pieces as long as `lengths` say; the rest is the last piece.
fn pieces<'a>(mut stream: &'a [u8], lengths: &[u8]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for length in lengths {
        let (piece, rest) = stream.split_at(stream.len().min(usize::from(*length)));
        pieces.push(piece);
        stream = rest;
    }
    pieces.push(stream);
    pieces
}
