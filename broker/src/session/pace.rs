use std::{
    cell::{Cell, RefCell},
    marker::PhantomData,
    sync::Arc,
    time::{Duration, Instant},
};

/// So many small messages a thread writes at once before it has nothing to do again, or so long has passed: as long as
/// it has always something to do, what is written together is cheaper.
const MOST: u32 = 512;
const PAUSE: Duration = Duration::from_millis(10);

/// What is as long as this altogether is written at once even by a busy thread, and in the middle of a row.
const WORTHWHILE: usize = 2 << 10;

/// When those who have something to write have waited so long, they are seen to although there are more messages in the
/// row. What is being handled at that time is handled before, be it a slow plugin.
const LONG: Duration = Duration::from_micros(500);

/// ... or so long for each of those who are written to, which is about what that takes.
const EACH: Duration = Duration::from_micros(10);

/// So many are written to at most when a row is over. Others are woken, for other threads to help with.
const MOST_OF_A_ROW: usize = 1024;

/// Among so many that are put off the time is looked at once.
const SOME: usize = 64;

/// Room for so many is kept.
const KEPT: usize = 1024;

thread_local! {
    static PACE: Cell<Pace> = const { Cell::new(Pace { company: Company::None, written: 0, until: None }) };
    static WAITING: RefCell<Waiting> = const { RefCell::new(Waiting { sleepers: Vec::new(), since: None, seen_to: 0 }) };
}

/// Has something to write, and no need to know before others have given it more.
pub trait Sleeper: Send + Sync {
    /// Writes in its place, if nobody else has woken it, or wakes it.
    fn write_put_off(&self);

    /// Wakes it, if nobody else has done so.
    fn wake_put_off(&self);
}

/// Those who are to be seen to when a row of messages is handled.
struct Waiting {
    sleepers: Vec<Arc<dyn Sleeper>>,
    /// Since when the first of them waits.
    since: Option<Instant>,
    /// How many were seen to, those apart that were only woken.
    seen_to: usize,
}

impl Waiting {
    fn is_long(&self) -> bool {
        let each = EACH * u32::try_from(self.sleepers.len().min(MOST_OF_A_ROW)).unwrap_or(u32::MAX);
        self.since.is_some_and(|since| since.elapsed() >= LONG.max(each))
    }
}

#[derive(Clone, Copy)]
struct Pace {
    company: Company,
    /// How many messages it has written at once since it had nothing to do.
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

/// Messages that are handled one after the other. Those who get something to write by it are seen to when all are
/// handled, or sooner when that takes long: woken by the first, another thread would write it alone.
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

    /// Handles one. The receivers of what comes by itself are written to at once, which spares the task of each a turn;
    /// those of several get them together.
    pub fn handle<T>(&self, company: Company, handle: impl FnOnce() -> T) -> T {
        /// However the handling ends.
        struct Over;

        impl Drop for Over {
            fn drop(&mut self) {
                PACE.set(Pace { company: Company::None, ..PACE.get() });
            }
        }

        if WAITING.with_borrow(Waiting::is_long) {
            see_to(write_first);
        }
        PACE.set(Pace { company, ..PACE.get() });
        let _over = Over;
        handle()
    }
}

impl Drop for Row {
    fn drop(&mut self) {
        see_to(write_first);
    }
}

/// Sees to all who wait, by `see_to`, which says how many it has not only woken.
fn see_to(see_to: fn(&[Arc<dyn Sleeper>]) -> usize) {
    let mut sleepers = WAITING.with_borrow_mut(|waiting| {
        waiting.since = None;
        std::mem::take(&mut waiting.sleepers)
    });
    // Not while it is borrowed: whoever is woken, or let go of, may come back here.
    let seen_to = see_to(&sleepers);
    sleepers.clear();
    WAITING.with_borrow_mut(|waiting| {
        waiting.seen_to += seen_to;
        if waiting.sleepers.capacity() == 0 && sleepers.capacity() <= KEPT {
            waiting.sleepers = sleepers;
        }
    });
}

fn write_first(sleepers: &[Arc<dyn Sleeper>]) -> usize {
    let (first, others) = sleepers.split_at(sleepers.len().min(MOST_OF_A_ROW));
    wake(others);
    first.iter().for_each(|sleeper| sleeper.write_put_off());
    first.len()
}

fn wake(sleepers: &[Arc<dyn Sleeper>]) -> usize {
    sleepers.iter().for_each(|sleeper| sleeper.wake_put_off());
    0
}

/// How many this thread has seen to in rows since it was last asked, those apart that it has only woken.
pub fn take_seen_to() -> usize {
    WAITING.with_borrow_mut(|waiting| std::mem::take(&mut waiting.seen_to))
}

/// Whether who gets something to write now is to be put off.
pub(super) fn puts_off() -> bool {
    PACE.get().company == Company::Others
}

/// Sees to it later.
pub(super) fn put_off(sleeper: Arc<dyn Sleeper>) {
    let is_long = WAITING.with_borrow_mut(|waiting| {
        waiting.since.get_or_insert_with(Instant::now);
        waiting.sleepers.push(sleeper);
        waiting.sleepers.len().is_multiple_of(SOME) && waiting.is_long()
    });
    if is_long {
        // No more than that: this is in the middle of something.
        see_to(wake);
    }
}

/// This thread of the runtime has nothing to do. For
/// [`on_thread_park`](tokio::runtime::Builder::on_thread_park).
pub fn rested() {
    PACE.set(Pace { written: 0, until: None, ..PACE.get() });
}

/// Whether one more message, or several, of so many bytes may be written at once.
pub(super) fn allows(bytes: usize) -> bool {
    bytes >= WORTHWHILE || allows_little()
}

fn allows_little() -> bool {
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
        row.handle(Company::Others, || assert!(!allows(1) && allows(WORTHWHILE)));
        assert!(row.handle(Company::None, || allows(1)) && allows(1));
        let panicked =
            std::panic::catch_unwind(|| Row::begin().handle(Company::Others, || panic!("a handler")));
        assert!(panicked.is_err() && allows(1));
    }

    #[derive(Default)]
    struct Counting {
        written: AtomicUsize,
        woken: AtomicUsize,
    }

    impl Sleeper for Counting {
        fn write_put_off(&self) {
            self.written.fetch_add(1, Ordering::Relaxed);
        }

        fn wake_put_off(&self) {
            self.woken.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Counting {
        fn put_off(self: &Arc<Self>) {
            put_off(Arc::clone(self) as _);
        }

        /// How often it was written to, and woken.
        fn times(&self) -> (usize, usize) {
            (self.written.load(Ordering::Relaxed), self.woken.load(Ordering::Relaxed))
        }
    }

    #[test]
    fn who_has_something_to_write_is_seen_to_when_the_row_is_handled() {
        let sleeper = Arc::new(Counting::default());
        let row = Row::begin();
        row.handle(Company::None, || assert!(!puts_off()));
        row.handle(Company::Others, || {
            assert!(puts_off());
            sleeper.put_off();
        });
        assert_eq!(sleeper.times(), (0, 0));
        drop(row);
        assert_eq!(sleeper.times(), (1, 0));
    }

    #[test]
    fn a_thread_writes_to_so_many_and_wakes_the_rest() {
        take_seen_to();
        let sleeper = Arc::new(Counting::default());
        let all = (0..MOST_OF_A_ROW + 100).map(|_| Arc::clone(&sleeper) as Arc<dyn Sleeper>);
        WAITING.with_borrow_mut(|waiting| waiting.sleepers.extend(all));
        drop(Row::begin());
        assert_eq!(sleeper.times(), (MOST_OF_A_ROW, 100));
        assert_eq!((take_seen_to(), take_seen_to()), (MOST_OF_A_ROW, 0));
    }

    #[test]
    fn nobody_waits_for_a_long_row_nor_for_a_long_message() {
        let (sleeper, others) = (Arc::new(Counting::default()), Arc::new(Counting::default()));
        let row = Row::begin();
        row.handle(Company::Others, || sleeper.put_off());
        pass_time();
        row.handle(Company::Others, || assert_eq!(sleeper.times(), (1, 0)));
        row.handle(Company::Others, || {
            sleeper.put_off();
            pass_time();
            (1..SOME).for_each(|_| others.put_off());
            assert_eq!((sleeper.times(), others.times()), ((1, 1), (0, SOME - 1)));
        });
    }

    fn pass_time() {
        let begun = Instant::now();
        while begun.elapsed() < LONG.max(EACH * SOME as u32) {}
    }

    #[test]
    fn a_row_that_panics_sees_to_them_too() {
        let sleeper = Arc::new(Counting::default());
        let panicked = std::panic::catch_unwind(AssertUnwindSafe(|| {
            Row::begin().handle(Company::Others, || {
                sleeper.put_off();
                panic!("a handler");
            });
        }));
        assert!(panicked.is_err());
        assert_eq!(sleeper.times(), (1, 0));
    }

    #[test]
    fn a_busy_thread_leaves_the_rest_to_the_tasks() {
        rested();
        assert!((0..MOST).all(|_| allows(1)));
        assert!(!allows(1) && allows(WORTHWHILE));
        rested();
        assert!(allows(1));
    }
}
