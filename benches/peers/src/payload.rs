//! The 200 bytes that every system carries: a number, when it was due, and padding. JSON, for Jackfield's sake.

/// How long every payload is.
pub(crate) const LENGTH: usize = 200;

const HEAD: &[u8] = b"{\"number\":\"";
const MIDDLE: &[u8] = b"\",\"due\":\"";
const PAD: &[u8] = b"\",\"pad\":\"";
const END: &[u8] = b"\"}";
const DIGITS: usize = 16;
const NUMBER: usize = HEAD.len();
const DUE: usize = NUMBER + DIGITS + MIDDLE.len();

/// What a payload says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Counts its sender's payloads.
    pub(crate) number: u64,
    /// When it was to be sent, in nanoseconds of the run.
    pub(crate) due: u64,
}

/// Writes payloads and knows them again.
#[derive(Debug, Clone)]
pub(crate) struct Payload {
    text: Vec<u8>,
}

impl Payload {
    pub(crate) fn new() -> Self {
        let zeros = [b'0'; DIGITS];
        let mut text = [HEAD, &zeros, MIDDLE, &zeros, PAD].concat();
        text.resize(LENGTH - END.len(), b'x');
        text.extend_from_slice(END);
        Self { text }
    }

    /// The payload that says this.
    pub(crate) fn stamped(&mut self, stamp: Stamp) -> &[u8] {
        for (place, number) in [(NUMBER, stamp.number), (DUE, stamp.due)] {
            let digits = self.text.get_mut(place..place + DIGITS).unwrap_or_default();
            digits.iter_mut().zip(hex(number)).for_each(|(place, digit)| *place = digit);
        }
        &self.text
    }

    /// What a payload says. The error is for one that differs in length, or in a byte that never changes.
    pub(crate) fn read(&self, text: &[u8]) -> Result<Stamp, String> {
        let fixed = [0..NUMBER, NUMBER + DIGITS..DUE, DUE + DIGITS..LENGTH];
        let same = text.len() == LENGTH
            && fixed.into_iter().all(|range| text.get(range.clone()) == self.text.get(range));
        let number = |place| read_hex(text.get(place..place + DIGITS)?);
        let stamp = same.then(|| Some(Stamp { number: number(NUMBER)?, due: number(DUE)? })).flatten();
        stamp.ok_or_else(|| format!("a wrong payload: {}", String::from_utf8_lossy(text)))
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
    digits.iter().try_fold(0, |number, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u64::from(digit))
    })
}

/// Sees that numbers come once and in order.
#[derive(Debug, Default)]
pub(crate) struct Order {
    next: u64,
}

impl Order {
    /// Takes the next number.
    pub(crate) fn take(&mut self, number: u64) -> Result<(), String> {
        if number != self.next {
            return Err(format!("number {number} came where {} was next", self.next));
        }
        self.next += 1;
        Ok(())
    }

    /// How many came.
    pub(crate) fn count(&self) -> u64 {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stamped_is_read() {
        let stamp = Stamp { number: 0xAB_CDEF, due: u64::MAX };
        let mut payload = Payload::new();
        let text = payload.stamped(stamp).to_vec();
        assert_eq!(text.len(), LENGTH);
        assert!(serde_json::from_slice::<serde_json::Value>(&text).unwrap()["pad"].is_string());
        assert_eq!(payload.read(&text), Ok(stamp));
        for place in 0..text.len() {
            let mut changed = text.clone();
            changed[place] ^= 1;
            assert_ne!(payload.read(&changed), Ok(stamp), "byte {place}");
        }
        payload.read(&text[..LENGTH - 1]).unwrap_err();
    }

    #[test]
    fn order_is_seen() {
        let mut order = Order::default();
        order.take(0).unwrap();
        order.take(0).unwrap_err();
        order.take(2).unwrap_err();
        order.take(1).unwrap();
        assert_eq!(order.count(), 2);
    }
}
