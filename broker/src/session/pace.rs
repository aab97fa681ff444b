use std::cell::Cell;

/// So many events a thread writes at once before it has nothing to do again: as long as it has always something to do,
/// what is written together is cheaper.
const MOST: u32 = 512;

thread_local! {
    static PACE: Cell<Pace> = const { Cell::new(Pace { alone: true, written: 0 }) };
}

#[derive(Clone, Copy)]
struct Pace {
    /// Whether what the thread is at came by itself, and not in a row of messages.
    alone: bool,
    /// How many events it has written at once since it had nothing to do.
    written: u32,
}

/// Handles a message that came by itself, or one of several. The receivers of an event that comes by itself are written
/// to at once, which spares the task of each a turn; those of several get them together.
pub fn handling<T>(alone: bool, handle: impl FnOnce() -> T) -> T {
    let set = |alone| PACE.set(Pace { alone, ..PACE.get() });
    set(alone);
    let handled = handle();
    set(true);
    handled
}

/// This thread of the runtime has nothing to do. To be called by the runtime: see
/// [`on_thread_park`](tokio::runtime::Builder::on_thread_park).
pub fn rested() {
    PACE.set(Pace { written: 0, ..PACE.get() });
}

/// Whether one more event may be written at once.
pub(super) fn allows() -> bool {
    let pace = PACE.get();
    let allows = pace.alone && pace.written < MOST;
    if allows {
        PACE.set(Pace { written: pace.written + 1, ..pace });
    }
    allows
}
