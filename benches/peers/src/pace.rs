//! When something is due, and who wakes those that send then.

use std::{sync::Arc, thread, time::Duration};

use crate::{
    link::Gate,
    run::{Phase, Run},
};

/// When a sender sends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pace {
    /// As soon as the window has room.
    Window,
    /// At a fixed rate, in nanoseconds of the run.
    Every { interval: u64, offset: u64, burst: u64 },
}

impl Pace {
    /// The share of one of several senders, which together send at this rate.
    pub(crate) fn share(per_second: f64, sender: usize, senders: usize) -> Self {
        let interval = interval(per_second);
        Self::Every { interval: interval * senders as u64, offset: interval * sender as u64, burst: 1 }
    }

    /// So many at a time, at the same rate.
    pub(crate) fn in_bursts(self, size: usize) -> Self {
        let size = size as u64;
        match self {
            Self::Window => Self::Window,
            Self::Every { interval, offset, burst } => {
                Self::Every { interval: interval * size, offset: offset * size, burst: burst * size }
            }
        }
    }

    /// When that message is due, if it is.
    pub(crate) fn due(self, number: u64, now: u64) -> Option<u64> {
        let due = match self {
            Self::Window => return Some(now),
            Self::Every { interval, offset, burst } => offset + number / burst * interval,
        };
        (due <= now).then_some(due)
    }
}

fn interval(per_second: f64) -> u64 {
    ((1e9 / per_second) as u64).max(1)
}

/// Opens the gates in turn, at this rate. A thread's own: the runtime's timers are no finer than a millisecond.
pub(crate) fn open_gates(run: &Arc<Run>, gates: Vec<Arc<Gate>>, per_second: f64) -> Result<(), String> {
    let run = Arc::clone(run);
    let interval = interval(per_second);
    let work = move || {
        for (opening, gate) in (0_u64..).zip(gates.iter().cycle()) {
            let due = opening * interval;
            while let Some(rest @ 1..) = due.checked_sub(run.now()) {
                thread::park_timeout(Duration::from_nanos(rest));
            }
            if run.phase() != Phase::Load {
                return;
            }
            gate.open();
        }
    };
    thread::Builder::new().spawn(work).map(drop).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senders_share_a_rate() {
        let due = |sender, number, now| Pace::share(1000.0, sender, 2).due(number, now);
        assert_eq!(due(0, 0, 0), Some(0));
        assert_eq!((due(1, 0, 999_999), due(1, 0, 1_000_000)), (None, Some(1_000_000)));
        assert_eq!(due(1, 1, 5_000_000), Some(3_000_000));
        let burst = |number, now| Pace::share(1000.0, 1, 2).in_bursts(3).due(number, now);
        assert_eq!((burst(0, 2_999_999), burst(2, 3_000_000)), (None, Some(3_000_000)));
        assert_eq!((burst(3, 8_999_999), burst(3, 9_000_000)), (None, Some(9_000_000)));
        assert_eq!(Pace::Window.due(7, 5), Some(5));
    }
}
