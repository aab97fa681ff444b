use std::{
    cell::{Cell, RefCell},
    task::Waker,
    time::{Duration, Instant},
};

use futures_util::task::AtomicWaker;

/// So many events a thread writes at once before it has nothing to do again, or so long has passed: as long as it has
/// always something to do, what is written together is cheaper.
const MOST: u32 = 512;
const PAUSE: Duration = Duration::from_millis(10);

/// So long those wait at most who have something to write, while one message after another is handled that may give
/// them more. Woken for the first, another thread would write it alone.
const LONGEST_WAIT: Duration = Duration::from_micros(500);

/// Room for so many is kept.
const KEPT: usize = 1024;

thread_local! {
    static PACE: Cell<Pace> = const { Cell::new(Pace { company: Company::None, written: 0, until: None }) };
    static WAITING: RefCell<Waiting> = const { RefCell::new(Waiting { wakers: Vec::new(), since: None }) };
}

/// Those who are to be woken when a row of messages is handled.
struct Waiting {
    wakers: Vec<Waker>,
    /// Since when the first of them waits.
    since: Option<Instant>,
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

/// Messages that are handled one after the other. Those who get something to write by it are woken when all are
/// handled, or sooner when that takes long.
#[derive(Debug)]
pub struct Row(());

impl Row {
    /// To be held as long as there are more.
    pub fn begin() -> Self {
        Self(())
    }

    /// Handles one. The receivers of an event that comes by itself are written to at once, which spares the task of
    /// each a turn; those of several get them together.
    pub fn handle<T>(&self, company: Company, handle: impl FnOnce() -> T) -> T {
        /// However the handling ends.
        struct Over;

        impl Drop for Over {
            fn drop(&mut self) {
                PACE.set(Pace { company: Company::None, ..PACE.get() });
            }
        }

        if WAITING.with_borrow(|waiting| waiting.since.is_some_and(|since| since.elapsed() >= LONGEST_WAIT)) {
            wake_all();
        }
        PACE.set(Pace { company, ..PACE.get() });
        let _over = Over;
        handle()
    }
}

impl Drop for Row {
    fn drop(&mut self) {
        wake_all();
    }
}

fn wake_all() {
    let mut wakers = WAITING.with_borrow_mut(|waiting| {
        waiting.since = None;
        std::mem::take(&mut waiting.wakers)
    });
    wakers.drain(..).for_each(Waker::wake);
    if wakers.capacity() <= KEPT {
        WAITING.with_borrow_mut(|waiting| waiting.wakers = wakers);
    }
}

/// Wakes who has something to write by now, or has it wait for the end of the row.
pub(super) fn wake(waker: &AtomicWaker) {
    if PACE.get().company == Company::None {
        return waker.wake();
    }
    let Some(waker) = waker.take() else { return };
    WAITING.with_borrow_mut(|waiting| {
        waiting.since.get_or_insert_with(Instant::now);
        waiting.wakers.push(waker);
    });
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
    use std::{
        panic::AssertUnwindSafe,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::Wake,
    };

    use super::*;

    #[test]
    fn only_what_comes_by_itself_is_written_at_once() {
        rested();
        let row = Row::begin();
        row.handle(Company::Others, || assert!(!allows()));
        assert!(row.handle(Company::None, allows) && allows());
        let panicked =
            std::panic::catch_unwind(|| Row::begin().handle(Company::Others, || panic!("a handler")));
        assert!(panicked.is_err() && allows());
    }

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn sleeper() -> (Arc<Woken>, AtomicWaker) {
        let (woken, waker) = (Arc::new(Woken::default()), AtomicWaker::new());
        waker.register(&Waker::from(Arc::clone(&woken)));
        (woken, waker)
    }

    fn times(woken: &Woken) -> usize {
        woken.0.load(Ordering::Relaxed)
    }

    #[test]
    fn who_has_something_to_write_is_woken_when_the_row_is_handled() {
        let (first, first_waker) = sleeper();
        let (second, second_waker) = sleeper();
        let row = Row::begin();
        row.handle(Company::None, || wake(&second_waker));
        assert_eq!(times(&second), 1, "by itself");
        row.handle(Company::Others, || {
            wake(&first_waker);
            wake(&first_waker);
        });
        assert_eq!(times(&first), 0);
        drop(row);
        assert_eq!(times(&first), 1);
    }

    #[test]
    fn nobody_waits_for_a_long_row_nor_for_one_that_panics() {
        let (woken, waker) = sleeper();
        let row = Row::begin();
        row.handle(Company::Others, || wake(&waker));
        let begun = Instant::now();
        while begun.elapsed() < LONGEST_WAIT {}
        row.handle(Company::Others, || assert_eq!(times(&woken), 1));
        let (woken, waker) = sleeper();
        let panicked = std::panic::catch_unwind(AssertUnwindSafe(move || {
            row.handle(Company::Others, || {
                wake(&waker);
                panic!("a handler");
            });
        }));
        assert!(panicked.is_err());
        assert_eq!(times(&woken), 1);
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
