//! What a connection counts and measures.

use std::sync::Arc;

use hdrhistogram::Histogram;
use parking_lot::Mutex;
use serde::Serialize;

/// The longest latency that is told from longer ones: an hour, in nanoseconds.
const LONGEST: u64 = 3_600_000_000_000;
/// How many latencies a connection gathers before it adds them to the histogram of all.
const GATHERED: usize = 512;

/// What went well and what did not, from the first message to the last, warm-up included.
#[derive(Debug, Default, Serialize)]
pub(super) struct Tally {
    /// Requests, or events, or logins.
    pub(super) sent: u64,
    /// Requests that were answered, well or not.
    pub(super) answered: u64,
    /// Events that reached a subscriber.
    pub(super) delivered: u64,
    /// Error answers.
    pub(super) errors: u64,
    /// Answers and events that never came.
    pub(super) lost: u64,
    pub(super) duplicates: u64,
    pub(super) out_of_order: u64,
    /// Messages whose content is not what it must be, and answers to nothing.
    pub(super) wrong: u64,
    pub(super) connections_lost: u64,
    /// What was due by `--rate` and was not sent, for too much was unanswered. No mistake of the broker's.
    pub(super) unsent: u64,
    #[serde(skip)]
    pub(super) first_problem: Option<String>,
}

impl Tally {
    /// Keeps the first thing that went wrong, for people.
    pub(super) fn problem(&mut self, text: impl FnOnce() -> String) {
        self.first_problem.get_or_insert_with(text);
    }

    pub(super) fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.answered += other.answered;
        self.delivered += other.delivered;
        self.errors += other.errors;
        self.lost += other.lost;
        self.duplicates += other.duplicates;
        self.out_of_order += other.out_of_order;
        self.wrong += other.wrong;
        self.connections_lost += other.connections_lost;
        self.unsent += other.unsent;
        if let Some(problem) = other.first_problem {
            self.problem(|| problem);
        }
    }

    pub(super) fn is_clean(&self) -> bool {
        self.lost + self.connections_lost == 0 && self.is_clean_but_for_losses()
    }

    pub(super) fn is_clean_but_for_losses(&self) -> bool {
        self.errors + self.duplicates + self.out_of_order + self.wrong == 0
    }
}

/// The histogram that all connections add to.
pub(super) type Latencies = Arc<Mutex<Histogram<u64>>>;

/// An empty histogram of nanoseconds, exact to three digits.
pub(super) fn latencies() -> Result<Latencies, hdrhistogram::CreationError> {
    Ok(Arc::new(Mutex::new(Histogram::new_with_bounds(1, LONGEST, 3)?)))
}

/// One connection's way to the histogram.
#[derive(Debug)]
pub(super) struct Recorder {
    gathered: Vec<u64>,
    all: Latencies,
}

impl Recorder {
    pub(super) fn new(all: &Latencies) -> Self {
        Self { gathered: Vec::new(), all: Arc::clone(all) }
    }

    pub(super) fn record(&mut self, nanoseconds: u64) {
        self.gathered.push(nanoseconds);
        if self.gathered.len() >= GATHERED {
            self.pass_on();
        }
    }

    fn pass_on(&mut self) {
        let mut all = self.all.lock();
        self.gathered.drain(..).for_each(|latency| all.saturating_record(latency));
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.pass_on();
    }
}
