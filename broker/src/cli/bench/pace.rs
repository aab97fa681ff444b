//! When to send: as soon as there is room, or by a timetable that does not wait for answers.

use std::{
    sync::Arc,
    thread::{self, park_timeout},
    time::{Duration, Instant},
};

use super::{
    clock::{Phase, Shared},
    connection::Gate,
};

/// One sender's share of the timetable.
#[derive(Debug, Clone)]
pub(super) enum Pace {
    /// As soon as there is room.
    Free,
    /// Number `next` of this sender is due `first + next × interval` nanoseconds after the start.
    Fixed { first: f64, interval: f64, next: u64 },
}

impl Pace {
    /// Of sender `index` of `senders`, which send `rate` a second together.
    pub(super) fn new(rate: Option<f64>, index: usize, senders: usize) -> Self {
        let Some(rate) = rate else { return Self::Free };
        let step = 1e9 / rate;
        Self::Fixed { first: step * index as f64, interval: step * senders as f64, next: 0 }
    }

    /// When the next message was to be sent, if that is now or was before.
    pub(super) fn due(&self, start: u64, now: u64) -> Option<u64> {
        match self {
            Self::Free => Some(now),
            Self::Fixed { first, interval, next } => {
                let intended = start + (first + interval * *next as f64) as u64;
                (intended <= now).then_some(intended)
            }
        }
    }

    /// The next message was sent.
    pub(super) fn advance(&mut self) {
        if let Self::Fixed { next, .. } = self {
            *next += 1;
        }
    }

    /// How many messages were due at `now` and were not sent.
    pub(super) fn behind(&self, start: u64, now: u64) -> u64 {
        match self {
            Self::Free => 0,
            Self::Fixed { first, interval, next } => {
                let since = now.saturating_sub(start) as f64 - first;
                let due = if since < 0.0 { 0 } else { (since / interval) as u64 + 1 };
                due.saturating_sub(*next)
            }
        }
    }
}

/// Wakes every sender when it is to send, by a thread of its own: the runtime's timers are no finer than a millisecond.
pub(super) fn keep_time(shared: Arc<Shared>, gates: Vec<Arc<Gate>>, rate: f64) -> std::io::Result<()> {
    let Some(timeline) = shared.timeline() else { return Ok(()) };
    let start = shared.instant(timeline.start);
    let wake_all = move || {
        for (number, gate) in gates.iter().cycle().enumerate() {
            wait_until(start + Duration::from_secs_f64(number as f64 / rate), &shared);
            if shared.phase() != Phase::Load {
                return;
            }
            gate.open();
        }
    };
    thread::Builder::new().name("bench-pace".into()).spawn(wake_all).map(drop)
}

/// Looks at the phase from time to time, so that the thread ends with the load.
fn wait_until(moment: Instant, shared: &Shared) {
    while shared.phase() == Phase::Load {
        let left = moment.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        park_timeout(left.min(Duration::from_millis(100)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timetable_is_shared_among_the_senders() {
        let mut due = Vec::new();
        for index in 0..2 {
            let mut pace = Pace::new(Some(1000.0), index, 2);
            while let Some(intended) = pace.due(500, 3_000_500) {
                due.push(intended);
                pace.advance();
            }
            assert_eq!(pace.behind(500, 3_000_500), 0);
            assert_eq!(pace.behind(500, 7_000_500), 2);
        }
        assert_eq!(due, [500, 2_000_500, 1_000_500, 3_000_500]);
    }

    #[test]
    fn without_a_rate_it_is_always_time() {
        let pace = Pace::new(None, 0, 1);
        assert_eq!((pace.due(0, 77), pace.behind(0, 77)), (Some(77), 0));
    }
}
