use std::{
    cell::{Cell, RefCell},
    marker::PhantomData,
    sync::Arc,
    time::{Duration, Instant},
};

/// So many events a thread writes at once before it has nothing to do again, or so long has passed: as long as it has
/// always something to do, what is written together is cheaper.
const MOST: u32 = 512;
const PAUSE: Duration = Duration::from_millis(10);

/// When those who have something to write have waited so long, they are woken although there are more messages in the
/// row. What is being handled at that time is handled before, be it a slow plugin.
const LONG: Duration = Duration::from_micros(500);

/// ... or so long for each of them, which is about what writing takes.
const EACH: Duration = Duration::from_micros(10);

/// So many are written to at most when a row is over. Others are woken, for other threads to help with.
const MOST_OF_A_ROW: usize = 1024;

/// What waits for one of them is written at once even by a busy thread, when it is as much as this.
const WORTHWHILE: usize = 2 << 10;

/// Among so many that are put off the time is looked at once.
const SOME: usize = 64;

/// Room for so many is kept.
const KEPT: usize = 1024;

thread_local! {
    static PACE: Cell<Pace> = const { Cell::new(Pace { company: Company::None, written: 0, until: None }) };
    static WAITING: RefCell<Waiting> = const { RefCell::new(Waiting { sleepers: Vec::new(), since: None }) };
}

/// Has something to write, and no need to know before others have given it more.
pub trait Sleeper: Send + Sync {
    /// Writes in its place, if that is `least` bytes or more and nobody else has woken it, or wakes it.
    fn write_put_off(&self, least: usize);

    /// Wakes it, if nobody else has done so.
    fn wake_put_off(&self);
}

/// Those who are to be woken when a row of messages is handled.
struct Waiting {
    sleepers: Vec<Arc<dyn Sleeper>>,
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

/// Messages that are handled one after the other. Those who get events to write by it are woken when all are handled,
/// or sooner when that takes long: woken by the first, another thread would write it alone.
#[derive(Debug)]
pub struct Row {
    /// It is of this thread.
    _here: PhantomData<*const ()>,
}

impl Row {
    /// To be held as long as there are more.
    pub fn begin() -> Self {
        Self { _here: PhantomData }
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

        wake_after_long();
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

fn wake_after_long() {
    let is_long = |waiting: &Waiting| {
        let long = LONG.max(EACH * u32::try_from(waiting.sleepers.len()).unwrap_or(u32::MAX));
        waiting.since.is_some_and(|since| since.elapsed() >= long)
    };
    if WAITING.with_borrow(is_long) {
        wake_all();
    }
}

fn wake_all() {
    let mut sleepers = WAITING.with_borrow_mut(|waiting| {
        waiting.since = None;
        std::mem::take(&mut waiting.sleepers)
    });
    // Not while it is borrowed: whoever is woken, or let go of, may come back here.
    let others = sleepers.split_off(sleepers.len().min(MOST_OF_A_ROW));
    others.iter().for_each(|sleeper| sleeper.wake_put_off());
    let write = |sleeper: Arc<dyn Sleeper>| sleeper.write_put_off(if allows() { 0 } else { WORTHWHILE });
    sleepers.drain(..).for_each(write);
    WAITING.with_borrow_mut(|waiting| {
        if waiting.sleepers.capacity() == 0 && sleepers.capacity() <= KEPT {
            waiting.sleepers = sleepers;
        }
    });
}

/// Whether who gets an event now is to be put off.
pub(super) fn puts_off() -> bool {
    PACE.get().company == Company::Others
}

/// Wakes it later.
pub(super) fn put_off(sleeper: Arc<dyn Sleeper>) {
    let looks = WAITING.with_borrow_mut(|waiting| {
        waiting.since.get_or_insert_with(Instant::now);
        waiting.sleepers.push(sleeper);
        waiting.sleepers.len().is_multiple_of(SOME)
    });
    if looks {
        wake_after_long();
    }
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
        sync::atomic::{AtomicUsize, Ordering},
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

    /// Counts how often it is seen to.
    #[derive(Default)]
    struct Counting(AtomicUsize);

    impl Sleeper for Counting {
        fn wake_put_off(&self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }

        fn write_put_off(&self, least: usize) {
            self.0.fetch_add(1 + (least << 32), Ordering::Relaxed);
        }
    }

    /// How often it was seen to.
    const TIMES: usize = 0xFFFF_FFFF;

    impl Counting {
        fn put_off(self: &Arc<Self>) {
            put_off(Arc::clone(self) as _);
        }

        fn times(&self) -> usize {
            self.0.load(Ordering::Relaxed) & TIMES
        }
    }

    #[test]
    fn who_has_something_to_write_is_woken_when_the_row_is_handled() {
        let sleeper = Arc::new(Counting::default());
        let row = Row::begin();
        row.handle(Company::None, || assert!(!puts_off()));
        row.handle(Company::Others, || {
            assert!(puts_off());
            sleeper.put_off();
        });
        row.handle(Company::Others, || ());
        assert_eq!(sleeper.times(), 0);
        drop(row);
        assert_eq!(sleeper.times(), 1);
    }

    #[test]
    fn a_thread_writes_so_much_for_others_and_leaves_them_the_rest() {
        rested();
        let sleeper = Arc::new(Counting::default());
        let row = Row::begin();
        row.handle(Company::Others, || (0..MOST_OF_A_ROW + 100).for_each(|_| sleeper.put_off()));
        drop(row);
        assert_eq!(sleeper.times(), MOST_OF_A_ROW + 100);
        let least = sleeper.0.load(Ordering::Relaxed) >> 32;
        assert_eq!(least, (MOST_OF_A_ROW - MOST as usize) * WORTHWHILE);
    }

    #[test]
    fn nobody_waits_for_a_long_row_nor_for_a_long_message() {
        let (sleeper, others) = (Arc::new(Counting::default()), Arc::new(Counting::default()));
        let row = Row::begin();
        row.handle(Company::Others, || sleeper.put_off());
        pass_time();
        row.handle(Company::Others, || assert_eq!(sleeper.times(), 1));
        row.handle(Company::Others, || {
            sleeper.put_off();
            pass_time();
            (1..SOME).for_each(|_| others.put_off());
            assert_eq!((sleeper.times(), others.times()), (2, SOME - 1));
        });
    }

    fn pass_time() {
        let begun = Instant::now();
        while begun.elapsed() < LONG.max(EACH * SOME as u32) {}
    }

    #[test]
    fn a_row_that_panics_wakes_too() {
        let sleeper = Arc::new(Counting::default());
        let panicked = std::panic::catch_unwind(AssertUnwindSafe(|| {
            Row::begin().handle(Company::Others, || {
                sleeper.put_off();
                panic!("a handler");
            });
        }));
        assert!(panicked.is_err());
        assert_eq!(sleeper.times(), 1);
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
