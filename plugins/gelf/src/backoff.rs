//! How long to wait before the next attempt.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

/// Delays that double, each of them a random one between half of it and all of it.
#[derive(Debug)]
pub(crate) struct Backoff(Duration);

impl Backoff {
    pub(crate) fn new() -> Self {
        Self(FIRST)
    }

    /// The next attempt is the first again.
    pub(crate) fn reset(&mut self) {
        self.0 = FIRST;
    }

    /// How long to wait now.
    pub(crate) fn delay(&mut self) -> Duration {
        let full = self.0;
        self.0 = (full * 2).min(LONGEST);
        full.mul_f64(rand::random_range(0.5..=1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_a_few_seconds() {
        let mut backoff = Backoff::new();
        let mut full = FIRST;
        for _ in 0..10 {
            let delay = backoff.delay();
            assert!(delay >= full / 2 && delay <= full, "{delay:?} of {full:?}");
            full = (full * 2).min(LONGEST);
        }
        backoff.reset();
        assert!(backoff.delay() <= FIRST);
    }
}
