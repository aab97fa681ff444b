use std::{
    cell::Cell,
    time::{Duration, Instant},
};

/// So many events a thread writes at once before it has nothing to do again, or so long has passed: as long as it has
/// always something to do, what is written together is cheaper.
const MOST: u32 = 512;
const PAUSE: Duration = Duration::from_millis(10);

thread_local! {
    static PACE: Cell<Pace> = const { Cell::new(Pace { company: Company::None, written: 0, until: None }) };
}

#[derive(Clone, Copy)]
struct Pace {
    company: Company,
    /// How many events it has written at once since it had nothing to do.
    written: u32,
    /// Until when it writes no more, nothing to do apart.
    until: Option<Instant>,
}

/// How a message came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Company {
    /// By itself.
    None,
    /// In a row of others.
    Others,
}

/// Handles a message. The receivers of an event that comes by itself are written to at once, which spares the task of
/// each a turn; those of several get them together.
pub fn handling<T>(company: Company, handle: impl FnOnce() -> T) -> T {
    /// However the handling ends.
    struct Over;

    impl Drop for Over {
        fn drop(&mut self) {
            PACE.set(Pace { company: Company::None, ..PACE.get() });
        }
    }

    PACE.set(Pace { company, ..PACE.get() });
    let _over = Over;
    handle()
}

/// This thread of the runtime has nothing to do. For
/// [`on_thread_park`](tokio::runtime::Builder::on_thread_park).
pub fn rested() {
    PACE.set(Pace { written: 0, until: None, ..PACE.get() });
}

/// Whether one more event may be written at once.
pub(super) fn allows() -> bool {
    let mut pace = PACE.get();
    if pace.company == Company::Others {
        return false;
    }
    if pace.written >= MOST {
        let now = Instant::now();
        if *pace.until.get_or_insert(now + PAUSE) > now {
            PACE.set(pace);
            return false;
        }
        (pace.written, pace.until) = (0, None);
    }
    pace.written += 1;
    PACE.set(pace);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_comes_by_itself_is_written_at_once() {
        rested();
        handling(Company::Others, || assert!(!allows()));
        assert!(handling(Company::None, allows) && allows());
        let panicked = std::panic::catch_unwind(|| handling(Company::Others, || panic!("a handler")));
        assert!(panicked.is_err() && allows());
    }

    #[test]
    fn a_busy_thread_leaves_the_rest_to_the_tasks() {
        rested();
        assert!((0..MOST).all(|_| allows()));
        assert!(!allows());
        rested();
        assert!(allows());
    }
}
