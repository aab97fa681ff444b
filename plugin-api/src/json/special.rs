//! The bytes that a string's end is found by: quotes, backslashes, and control characters, which must not be in one.
//! Sixteen are looked at together.

use wide::u8x16;

const WIDE: usize = 16;

/// Where the first of them is, from a place on.
#[inline]
pub(super) fn find(bytes: &[u8], from: usize) -> Option<usize> {
    // Most strings are short.
    match bytes.get(from..)?.first_chunk().map(among) {
        Some(0) => find_far(bytes, from + WIDE),
        Some(found) => Some(from + first(found)),
        None => find_last(bytes, from),
    }
}

#[inline(never)]
fn find_far(bytes: &[u8], from: usize) -> Option<usize> {
    let (chunks, rest) = bytes.get(from..)?.as_chunks();
    for (place, chunk) in chunks.iter().enumerate() {
        let found = among(chunk);
        if found != 0 {
            return Some(from + place * WIDE + first(found));
        }
    }
    find_last(bytes, bytes.len() - rest.len())
}

/// Where there are fewer than are looked at together, those before them are looked at too.
#[inline]
fn find_last(bytes: &[u8], from: usize) -> Option<usize> {
    let rest = bytes.get(from..)?;
    let Some(last) = bytes.last_chunk() else {
        let is_special = |byte: &u8| *byte < b' ' || matches!(*byte, b'"' | b'\\');
        return rest.iter().position(is_special).map(|place| from + place);
    };
    let found = among(last) >> (WIDE - rest.len());
    (found != 0).then(|| from + first(found))
}

fn first(found: u32) -> usize {
    found.trailing_zeros() as usize
}

/// A bit for each, the first byte's the lowest.
#[inline]
fn among(bytes: &[u8; WIDE]) -> u32 {
    let bytes = u8x16::new(*bytes);
    let is = |byte| bytes.simd_eq(u8x16::splat(byte));
    let is_control = bytes.min(u8x16::splat(b' ' - 1)).simd_eq(bytes);
    (is_control | is(b'"') | is(b'\\')).to_bitmask()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_at_every_place() {
        for byte in 0..=u8::MAX {
            let is_special = byte < b' ' || byte == b'"' || byte == b'\\';
            for place in 0..WIDE {
                for around in [b' ', b'!', 0x7f, 0x80, 0xff] {
                    let mut bytes = [around; WIDE];
                    bytes[place] = byte;
                    assert_eq!(among(&bytes), u32::from(is_special) << place, "{bytes:?}");
                }
            }
        }
    }

    #[test]
    fn the_first_is_found_whatever_stands_around_it() {
        for length in 0..40 {
            for from in 0..=length + 1 {
                for place in 0..length {
                    for special in *b"\"\\\x00\n\x1f" {
                        let mut bytes = vec![b'\x7f'; length];
                        bytes[place] = special;
                        let first = find(&bytes, from);
                        assert_eq!(first, (from <= place).then_some(place), "{bytes:?} from {from}");
                        bytes[length - 1] = b'"';
                        let last = Some(length - 1).filter(|last| from <= *last);
                        assert_eq!(find(&bytes, from), if from <= place { Some(place) } else { last });
                    }
                }
                assert_eq!(find(&vec![0xc3; length], from), None);
            }
        }
    }
}
