use std::{
    cell::Cell,
    time::{Duration, Instant},
};

/// Events that come one by one are written at once by whoever fires them: that spares each receiver's task a turn. As
/// soon as they come faster, that would cost what the tasks gain by writing many at a time. So a thread writes at most
/// so many at once in such a time.
const MOST: u32 = 128;
const WINDOW: Duration = Duration::from_millis(1);

thread_local! {
    static PACE: Cell<Pace> = const { Cell::new(Pace { alone: true, since: None, written: 0 }) };
}

#[derive(Clone, Copy)]
struct Pace {
    /// Whether what the thread is at came by itself, and not in a row of messages.
    alone: bool,
    since: Option<Instant>,
    written: u32,
}

/// Handles a message that came by itself, or one of several.
pub fn handling<T>(alone: bool, handle: impl FnOnce() -> T) -> T {
    let set = |alone| PACE.set(Pace { alone, ..PACE.get() });
    set(alone);
    let handled = handle();
    set(true);
    handled
}

/// Whether one more event may be written at once.
pub(super) fn allows() -> bool {
    let mut pace = PACE.get();
    if !pace.alone {
        return false;
    }
    if pace.written >= MOST || pace.since.is_none() {
        let now = Instant::now();
        if pace.since.is_some_and(|since| now.duration_since(since) < WINDOW) {
            return false;
        }
        (pace.since, pace.written) = (Some(now), 0);
    }
    pace.written += 1;
    PACE.set(pace);
    true
}
