//! What is sent along, and found again in what is received: who sent it, which one it is, and when.

/// The shortest payload: all that is verified, without padding.
pub(super) const SHORTEST: usize = HEAD.len() + DIGITS * 4 + 3 + MIDDLE.len() + END.len();

const HEAD: &[u8] = b"{\"bench\":\"";
const MIDDLE: &[u8] = b"\",\"pad\":\"";
const END: &[u8] = b"\"}";
/// Hexadecimal digits of a number; there are four of them, with a dash between any two.
const DIGITS: usize = 16;

/// What a payload says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Which of the senders.
    pub(super) sender: u64,
    /// Counts that sender's payloads.
    pub(super) number: u64,
    /// When it was to be sent, in nanoseconds of the run's clock.
    pub(super) intended: u64,
}

/// Makes payloads of one length and one run, and knows them again.
#[derive(Debug, Clone)]
pub(super) struct Payload {
    text: Vec<u8>,
    /// How much of `text` stands before the stamp: the run's number is in it.
    head: usize,
}

impl Payload {
    /// Payloads of `length` bytes, at least [`SHORTEST`].
    pub(super) fn new(run: u64, length: usize) -> Self {
        let mut text = HEAD.to_vec();
        text.extend_from_slice(&hex(run));
        text.push(b'-');
        let head = text.len();
        for separator in [b"-", b"-", &b""[..]] {
            text.extend_from_slice(&hex(0));
            text.extend_from_slice(separator);
        }
        text.extend_from_slice(MIDDLE);
        text.resize(length.saturating_sub(END.len()).max(text.len()), b'x');
        text.extend_from_slice(END);
        Self { text, head }
    }

    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    /// The payload with this stamp.
    pub(super) fn stamped(&mut self, stamp: Stamp) -> &[u8] {
        let numbers = [stamp.sender, stamp.number, stamp.intended];
        let places = self.text.get_mut(self.head..).unwrap_or_default().chunks_mut(DIGITS + 1);
        for (place, number) in places.zip(numbers) {
            place.iter_mut().zip(hex(number)).for_each(|(byte, digit)| *byte = digit);
        }
        &self.text
    }

    /// The stamp of a payload of this run; `None` for anything that differs in one byte.
    pub(super) fn read(&self, text: &[u8]) -> Option<Stamp> {
        let end = self.head + 3 * DIGITS + 2;
        let same = text.len() == self.text.len()
            && text.get(..self.head) == self.text.get(..self.head)
            && text.get(end..) == self.text.get(end..);
        let mut numbers =
            text.get(self.head..end).filter(|_| same)?.split(|byte| *byte == b'-').map(read_hex);
        let mut next = || numbers.next().flatten();
        let stamp = Stamp { sender: next()?, number: next()?, intended: next()? };
        numbers.next().is_none().then_some(stamp)
    }
}

fn hex(number: u64) -> [u8; DIGITS] {
    let mut digits = [0; DIGITS];
    let mut rest = number;
    for place in digits.iter_mut().rev() {
        *place = match (rest & 0xF) as u8 {
            digit @ 0..10 => b'0' + digit,
            digit => b'a' + digit - 10,
        };
        rest >>= 4;
    }
    digits
}

fn read_hex(digits: &[u8]) -> Option<u64> {
    if digits.len() != DIGITS {
        return None;
    }
    digits.iter().try_fold(0, |number, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp { sender: 3, number: 0xABC, intended: u64::MAX };

    #[test]
    fn a_payload_is_json_of_the_length_asked_for() {
        for length in [SHORTEST, SHORTEST + 1, 200, 5000] {
            let mut payload = Payload::new(7, length);
            let text = payload.stamped(STAMP).to_vec();
            assert_eq!((text.len(), payload.len()), (length, length));
            assert!(serde_json::from_slice::<serde_json::Value>(&text).unwrap()["pad"].is_string());
            assert_eq!(payload.read(&text), Some(STAMP));
        }
    }

    #[test]
    fn a_byte_that_differs_is_seen() {
        let mut payload = Payload::new(7, 120);
        let text = payload.stamped(STAMP).to_vec();
        for place in 0..text.len() {
            let mut changed = text.clone();
            changed[place] ^= 1;
            assert_ne!(payload.read(&changed), Some(STAMP), "byte {place}");
        }
        assert_eq!(Payload::new(8, 120).read(&text), None, "another run's");
        assert_eq!(payload.read(&text[..119]), None);
    }
}
