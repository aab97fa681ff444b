//! The run's clock and phases, and what every connection shares.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::tally::{Latencies, latencies};

/// What connections may do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Send.
    Load,
    /// Wait for answers.
    Drain,
    /// Wait for events: how many there were is known.
    Close,
    /// Stop.
    Abort,
}

impl Phase {
    const ALL: [Self; 4] = [Self::Load, Self::Drain, Self::Close, Self::Abort];
}

/// When the run began, and from when on it counts, in nanoseconds of its clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timeline {
    pub(super) start: u64,
    pub(super) measure_from: u64,
}

/// What every connection of a run shares.
#[derive(Debug)]
pub(super) struct Shared {
    epoch: Instant,
    timeline: OnceLock<Timeline>,
    phase: AtomicU8,
    end_of_load: OnceLock<u64>,
    /// How many events each publisher sent, once that is known.
    pub(super) published: OnceLock<Vec<u64>>,
    pub(super) completed: AtomicU64,
    pub(super) bytes_sent: AtomicU64,
    pub(super) bytes_received: AtomicU64,
    pub(super) latencies: Latencies,
}

impl Shared {
    pub(super) fn new() -> Result<Self, hdrhistogram::CreationError> {
        Ok(Self {
            epoch: Instant::now(),
            timeline: OnceLock::new(),
            phase: AtomicU8::new(0),
            end_of_load: OnceLock::new(),
            published: OnceLock::new(),
            completed: AtomicU64::new(0),
            bytes_sent: AtomicU64::new(0),
            bytes_received: AtomicU64::new(0),
            latencies: latencies()?,
        })
    }

    /// Nanoseconds of the run's clock.
    pub(super) fn now(&self) -> u64 {
        nanoseconds(self.epoch.elapsed())
    }

    /// A moment of the run's clock.
    pub(super) fn instant(&self, nanoseconds: u64) -> Instant {
        self.epoch + Duration::from_nanos(nanoseconds)
    }

    /// The load begins now, and counts after `warm_up`.
    pub(super) fn begin(&self, warm_up: Duration) -> Timeline {
        let start = self.now();
        *self.timeline.get_or_init(|| Timeline { start, measure_from: start + nanoseconds(warm_up) })
    }

    pub(super) fn timeline(&self) -> Option<Timeline> {
        self.timeline.get().copied()
    }

    /// Whether what was to be sent then counts.
    pub(super) fn measures(&self, intended: u64) -> bool {
        self.timeline.get().is_some_and(|timeline| intended >= timeline.measure_from)
    }

    pub(super) fn phase(&self) -> Phase {
        let phase = usize::from(self.phase.load(Ordering::Acquire));
        Phase::ALL.get(phase).copied().unwrap_or(Phase::Abort)
    }

    /// When the load ended; now, while it goes on.
    pub(super) fn end_of_load(&self) -> u64 {
        self.end_of_load.get().copied().unwrap_or_else(|| self.now())
    }

    /// Those who wait for another phase have to be woken.
    pub(super) fn set_phase(&self, phase: Phase) {
        if phase > Phase::Load {
            self.end_of_load.get_or_init(|| self.now());
        }
        self.phase.store(phase as u8, Ordering::Release);
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
