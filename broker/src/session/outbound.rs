use std::{
    any::Any,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Waker,
};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use jackfield_plugin_api::{Call, Context, Error, RawJson};
use parking_lot::{Mutex, MutexGuard};
use tokio::{sync::oneshot, time::Instant};

use super::{
    pace,
    queue::{Queue, Slot, Takes, Writer, Written},
};

/// What is taken out of the queue, in order.
pub enum Item<'a> {
    /// Bytes for the socket.
    Bytes(&'a [u8]),
    /// Bytes for the socket that others get too.
    Shared(Bytes),
    /// The last bytes were an event that has to be answered under this id.
    Event(u64),
    /// What others wrote, and has to be answered.
    Written(Written),
    /// The last bytes were a request.
    Request(u64, Waiter),
}

/// Who waits for the answer to a request of the broker's. Dropped without a word, the session has ended.
pub enum Waiter {
    /// A task.
    Task {
        /// Takes the answer.
        reply: oneshot::Sender<Result<RawJson, Error>>,
        /// Is told of acks.
        acks: Option<Context>,
        /// Let go of when nothing more can come, be it that nobody waited so long.
        held: Option<Arc<dyn Any + Send + Sync>>,
    },
    /// A request of somebody else's, whose answer this is.
    Relay(Arc<dyn Call>),
}

impl Waiter {
    /// Hands over the answer.
    pub fn answer(self, result: Result<RawJson, Error>) {
        match self {
            // Who waited may have given up.
            Self::Task { reply, .. } => drop(reply.send(result)),
            Self::Relay(caller) => caller.answer(result),
        }
    }

    /// Says that the answer takes longer.
    pub fn ack(&self) {
        match self {
            Self::Task { acks: Some(caller), .. } => caller.ack(),
            Self::Relay(caller) => caller.ack(),
            Self::Task { acks: None, .. } => {}
        }
    }
}

/// As long as no more than so many bytes wait, their writer may be put off. Whoever put it off may be slow, and others
/// have something for it too.
const PUT_OFF: usize = 24 << 10;

/// The queue between those who have something for a connection and the task that writes to it. Bounded in bytes;
/// nobody ever waits to put something in.
pub struct Outbound {
    queue: Mutex<Queue>,
    /// The bytes in the queue. Changed by whoever has locked it.
    bytes: AtomicUsize,
    waker: AtomicWaker,
}

/// Why a frame was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushError {
    /// The connection is being closed.
    Closed,
    /// The queue is over its limit. It is closed by this.
    Full,
}

/// Whether somebody has to see to it later that what waits is written, and nobody has been told so before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct PutOff(pub bool);

impl Outbound {
    /// An empty queue, of a connection to whose socket others may write.
    pub fn new(writer: Option<Writer>) -> Self {
        let queue = Mutex::new(Queue::new(writer));
        Self { queue, bytes: AtomicUsize::new(0), waker: AtomicWaker::new() }
    }

    /// Queues an answer or an ack that `write` appends to a buffer, and says whether its writer is put off.
    ///
    /// # Errors
    /// When the connection takes no more.
    pub fn push_answer(&self, limit: usize, write: impl FnOnce(&mut Vec<u8>)) -> Result<PutOff, PushError> {
        self.push(self.queue.lock(), limit, |queue| queue.put_answer(write))
    }

    /// Queues an event, likewise; with a `tid` it has to be answered.
    ///
    /// # Errors
    /// When the connection takes no more.
    pub fn push_event(&self, bytes: &Bytes, tid: Option<u64>, limit: usize) -> Result<PutOff, PushError> {
        self.push(self.queue.lock(), limit, |queue| queue.put_event(bytes, tid))
    }

    /// Queues a request of the broker's that `write` appends to a buffer, likewise.
    ///
    /// # Errors
    /// When the connection takes no more, or nobody will read its answers.
    pub fn push_request(
        &self,
        tid: u64,
        waiter: Waiter,
        limit: usize,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<PutOff, PushError> {
        // Outside of the lock, under which a waiter must not be dropped: it may have something to say to this queue.
        let mut waiter = Some(waiter);
        let queue = self.queue.lock();
        if queue.takes == Takes::NoRequests {
            drop(queue);
            return Err(PushError::Closed);
        }
        let put = |queue: &mut Queue| match waiter.take() {
            Some(waiter) => queue.put_request(tid, waiter, write),
            None => 0,
        };
        self.push(queue, limit, put)
    }

    /// Queues what `put` appends, whose length it says, in order. If the connection's task has nothing to do, it is
    /// written at once, where that pays; or the task is woken; or, in a row of messages, that is put off.
    fn push(
        &self,
        mut queue: MutexGuard<'_, Queue>,
        limit: usize,
        put: impl FnOnce(&mut Queue) -> usize,
    ) -> Result<PutOff, PushError> {
        if queue.takes == Takes::Nothing {
            return Err(PushError::Closed);
        }
        let was_empty = queue.is_empty();
        let size = put(&mut queue);
        let before = self.bytes();
        // A single message may be larger than the limit: that is no sign of a client that does not read.
        if before > 0 && before + size > limit {
            queue.takes = Takes::Nothing;
            let dropped = queue.drop_last(size);
            drop(queue);
            drop(dropped);
            self.waker.wake();
            return Err(PushError::Full);
        }
        self.count(before + size, &queue);
        if queue.writing || !was_empty && !queue.is_put_off {
            return Ok(PutOff(false));
        }
        if pace::puts_off() && before + size <= PUT_OFF.min(limit / 2) {
            return Ok(PutOff(!std::mem::replace(&mut queue.is_put_off, true)));
        }
        queue.is_put_off = false;
        self.write_or_wake(queue);
        Ok(PutOff(false))
    }

    /// Writes what waits, where that pays, or wakes the task: for what is not written, too.
    fn write_or_wake(&self, mut queue: MutexGuard<'_, Queue>) {
        let written = queue.write_waiting();
        self.count(self.bytes() - written, &queue);
        if std::mem::take(&mut queue.is_due) || !queue.is_empty() {
            drop(queue);
            self.waker.wake();
        }
    }

    /// Wakes the writer if that was put off, and nobody has done so since.
    pub fn wake_put_off(&self) {
        if std::mem::take(&mut self.queue.lock().is_put_off) {
            self.waker.wake();
        }
    }

    /// Writes what waits, where that pays, if its writer was put off and nobody has woken it since. It is woken for what
    /// is not written.
    pub fn write_put_off(&self) {
        let mut queue = self.queue.lock();
        if std::mem::take(&mut queue.is_put_off) {
            self.write_or_wake(queue);
        }
    }

    /// Takes out what comes first, in order, until it was `most` bytes or more; `false` when there was nothing.
    pub fn take(&self, most: usize, mut each: impl FnMut(Item<'_>)) -> bool {
        let mut queue = self.queue.lock();
        queue.take_written(&mut each);
        if queue.is_empty() {
            return false;
        }
        let mut taken = 0;
        while taken < most {
            let Some(length) = queue.take(&mut each) else { break };
            taken += length;
        }
        queue.rest();
        self.count(self.bytes() - taken, &queue);
        true
    }

    /// Takes out the rest of a message that is partly written, before which nothing else may be, with the events that
    /// came in a row with it.
    pub fn take_begun(&self, mut each: impl FnMut(Item<'_>)) {
        let mut queue = self.queue.lock();
        let taken = queue.take_begun(&mut each);
        self.count(self.bytes() - taken, &queue);
    }

    /// The connection's task is going to write: from now on nobody else does, nor wakes it.
    pub fn begin_writing(&self) {
        let mut queue = self.queue.lock();
        (queue.writing, queue.is_put_off) = (true, false);
    }

    /// The connection's task has nothing more to write; `false` where there is something by now. It need not be woken
    /// to note what others write from `due_from` on.
    pub fn end_writing(&self, due_from: Option<Instant>) -> bool {
        let mut queue = self.queue.lock();
        queue.due_from = due_from;
        queue.writing = !queue.is_empty();
        !queue.writing
    }

    /// Gives up waiting for answers: the session has ended. Whoever waits for one is told so at once.
    pub fn forget_waiters(&self) {
        let mut queue = self.queue.lock();
        if queue.takes == Takes::All {
            queue.takes = Takes::NoRequests;
        }
        let forgotten = queue.forget_waiters();
        drop(queue);
        drop(forgotten);
    }

    /// Empties the queue and closes it, and says how many events were in it.
    pub fn discard(&self) -> u64 {
        let mut queue = self.queue.lock();
        (queue.takes, queue.writer) = (Takes::Nothing, None);
        let (written, slots) = queue.take_all();
        self.count(0, &queue);
        drop(queue);
        drop(written);
        slots.iter().map(Slot::events).sum()
    }

    /// The bytes in the queue.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// So many bytes are in the queue now, which is locked: nobody else says so at the same time.
    fn count(&self, bytes: usize, _locked: &Queue) {
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    /// Takes no more frames from now on.
    pub fn close(&self) {
        let mut queue = self.queue.lock();
        (queue.takes, queue.writer) = (Takes::Nothing, None);
    }

    /// Is woken when the queue is no longer empty, and by [`wake`](Self::wake).
    pub fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// Wakes the writer.
    pub fn wake(&self) {
        self.waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use metrics::Counter;
    use tokio::{
        io::AsyncReadExt,
        net::{TcpListener, TcpStream, tcp::OwnedReadHalf},
    };

    use super::*;
    use crate::session::{
        pace::{Company, Row},
        queue::{COPIED, COPIED_IN_ALL, NOTED_TOGETHER},
    };

    fn push(outbound: &Outbound, size: usize, limit: usize) -> Result<(), PushError> {
        outbound.push_answer(limit, |out| out.resize(out.len() + size, size as u8)).map(drop)
    }

    fn event(size: usize) -> Bytes {
        Bytes::from(vec![size as u8; size])
    }

    /// What comes out: bytes by their first and their number, events by their ids.
    fn taken(outbound: &Outbound, most: usize) -> Vec<(u8, usize)> {
        let mut taken = Vec::new();
        outbound.take(most, |item| match item {
            Item::Bytes(bytes) => taken.push((bytes.first().copied().unwrap_or(0), bytes.len())),
            Item::Shared(bytes) => taken.push((bytes[0], bytes.len())),
            Item::Event(tid) | Item::Written(Written { tid, .. }) | Item::Request(tid, _) => {
                taken.push((tid as u8, 0));
            }
        });
        taken
    }

    #[test]
    fn the_limit_counts_what_is_queued() {
        let outbound = Outbound::new(None);
        push(&outbound, 60, 100).unwrap();
        assert_eq!(taken(&outbound, 1000), [(60, 60)]);
        push(&outbound, 100, 100).unwrap();
        assert_eq!(push(&outbound, 1, 100), Err(PushError::Full));
        assert_eq!(outbound.bytes(), 100);
        assert_eq!(push(&outbound, 1, 1000), Err(PushError::Closed));
        assert_eq!(taken(&outbound, 1000), [(100, 100)], "what was accepted stays");
    }

    #[test]
    fn an_event_over_the_limit_is_not_counted_as_queued() {
        for size in [100, COPIED + 1] {
            let outbound = Outbound::new(None);
            assert_eq!(outbound.push_event(&event(10), None, 100), Ok(PutOff(false)));
            assert_eq!(outbound.push_event(&event(size), None, 100), Err(PushError::Full));
            assert_eq!(outbound.discard(), 1);
        }
    }

    #[test]
    fn frames_leave_in_order() {
        let outbound = Outbound::new(None);
        push(&outbound, 1, 1 << 20).unwrap();
        for (size, tid) in [(2, Some(7)), (COPIED + 1, Some(8)), (3, None)] {
            assert_eq!(outbound.push_event(&event(size), tid, 1 << 20), Ok(PutOff(false)));
        }
        push(&outbound, 4, 1 << 20).unwrap();
        let large = (event(COPIED + 1)[0], COPIED + 1);
        assert_eq!(taken(&outbound, 3), [(1, 1), (2, 2), (7, 0)]);
        assert_eq!(taken(&outbound, 1 << 20), [large, (8, 0), (3, 3), (4, 4)]);
        assert_eq!(outbound.bytes(), 0);
    }

    #[test]
    fn no_message_is_cut() {
        let outbound = Outbound::new(None);
        push(&outbound, 100, 100_000).unwrap();
        push(&outbound, 20_000, 100_000).unwrap();
        assert_eq!(taken(&outbound, 60), [(100, 100)]);
        assert_eq!(taken(&outbound, 60), [(20_000_usize as u8, 20_000)]);
    }

    #[test]
    fn what_was_taken_is_let_go_though_the_queue_is_never_empty() {
        let outbound = Outbound::new(None);
        push(&outbound, 10_000, usize::MAX).unwrap();
        for _ in 0..1000 {
            push(&outbound, 10_000, usize::MAX).unwrap();
            assert_eq!(taken(&outbound, 1).len(), 1);
        }
        assert!(outbound.queue.lock().own_bytes() <= 30_000);
    }

    #[test]
    fn a_request_to_an_ended_session_changes_nothing() {
        let outbound = Outbound::new(None);
        assert_eq!(outbound.push_event(&event(200), Some(7), 100), Ok(PutOff(false)));
        outbound.forget_waiters();
        let (reply, mut answer) = oneshot::channel();
        let waiter = Waiter::Task { reply, acks: None, held: None };
        assert_eq!(outbound.push_request(8, waiter, 100, |_| ()), Err(PushError::Closed));
        assert!(answer.try_recv().is_err());
        assert_eq!(taken(&outbound, 1000), [(200, 200), (7, 0)]);
    }

    /// The broker's end of a connection whose buffers are small, and the client's.
    async fn connected() -> (Outbound, OwnedReadHalf, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (read, write) = listener.accept().await.unwrap().0.into_split();
        write.writable().await.unwrap();
        let writer = Writer { socket: Arc::new(write), sent: Counter::noop() };
        (Outbound::new(Some(writer)), read, client)
    }

    /// How much of an event is written at once.
    fn written(outbound: &Outbound, size: usize, tid: Option<u64>) -> usize {
        let before = outbound.bytes();
        assert_eq!(outbound.push_event(&event(size), tid, 1 << 20).unwrap(), PutOff(false));
        before + size - outbound.bytes()
    }

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl std::task::Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A queue whose writer sleeps, and how often it was woken.
    fn asleep() -> (Outbound, impl Fn() -> usize) {
        let (outbound, woken) = (Outbound::new(None), Arc::new(Woken::default()));
        outbound.register(&Waker::from(Arc::clone(&woken)));
        (outbound, move || woken.0.load(Ordering::Relaxed))
    }

    #[test]
    fn the_writer_of_events_in_a_row_is_put_off_once() {
        let (outbound, woken) = asleep();
        Row::begin().handle(Company::Others, || {
            assert!(outbound.push_event(&event(5), None, 100).unwrap().0);
            assert!(!outbound.push_event(&event(5), None, 100).unwrap().0);
        });
        assert_eq!(woken(), 0);
        outbound.wake_put_off();
        assert_eq!(woken(), 1);
        outbound.wake_put_off();
        assert_eq!(woken(), 1);
    }

    #[test]
    fn what_others_queue_wakes_who_was_put_off() {
        let (outbound, woken) = asleep();
        let row = Row::begin();
        assert!(row.handle(Company::Others, || outbound.push_event(&event(5), None, 100).unwrap()).0);
        push(&outbound, 5, 100).unwrap();
        assert_eq!(woken(), 1);
        outbound.wake_put_off();
        assert_eq!(woken(), 1);
        outbound.register(&Waker::from(Arc::new(Woken::default())));
        outbound.begin_writing();
        row.handle(Company::Others, || {
            assert!(!outbound.push_event(&event(5), None, 100).unwrap().0, "it writes");
        });
    }

    #[tokio::test]
    async fn an_event_is_written_at_once_where_nothing_waits() {
        let (outbound, _read, mut client) = connected().await;
        pace::rested();
        assert_eq!(written(&outbound, 9, None), 9);
        assert_eq!(written(&outbound, 8, Some(3)), 8);
        assert_eq!(written(&outbound, 7, None), 7);
        outbound.begin_writing();
        assert_eq!(written(&outbound, 6, None), 0, "the task writes");
        assert!(!outbound.end_writing(None));
        assert_eq!(taken(&outbound, 100), [(3, 0), (6, 6)]);
        assert!(outbound.end_writing(None));
        assert_eq!(outbound.discard(), 0);
        let mut received = [0; 24];
        client.read_exact(&mut received).await.unwrap();
        assert_eq!(received, *[[9; 9].as_slice(), &[8; 8], &[7; 7]].concat());
    }

    #[tokio::test]
    async fn the_task_is_woken_to_note_what_was_written_when_it_would_wake_too_late_or_they_are_many() {
        let (outbound, _read, _client) = connected().await;
        let woken = Arc::new(Woken::default());
        outbound.register(&Waker::from(Arc::clone(&woken)));
        let mut write = |tid| {
            pace::rested();
            assert_eq!(written(&outbound, 9, Some(tid)), 9);
            let times = woken.0.swap(0, Ordering::Relaxed);
            outbound.register(&Waker::from(Arc::clone(&woken)));
            times
        };
        assert_eq!(write(1), 1, "nobody knows when it wakes");
        let now = Instant::now();
        outbound.end_writing(Some(now + std::time::Duration::from_secs(60)));
        assert_eq!(write(2), 1, "the answer is due before");
        outbound.end_writing(Some(now));
        let most = NOTED_TOGETHER as u64;
        assert_eq!((3..most).map(&mut write).sum::<usize>(), 0);
        assert_eq!(write(most), 1, "they are many");
        assert_eq!(taken(&outbound, 1).len(), NOTED_TOGETHER);
        assert_eq!(write(most + 1), 0);
        assert!(taken(&outbound, 1).len() == 1 && taken(&outbound, 1).is_empty());
    }

    /// Queues events of these sizes in a row.
    fn put_off(outbound: &Outbound, sizes: &[usize], tid: Option<u64>) {
        Row::begin().handle(Company::Others, || {
            sizes.iter().for_each(|size| {
                outbound.push_event(&event(*size), tid, 1 << 20).map(|_| ()).unwrap();
            });
        });
    }

    #[tokio::test]
    async fn what_was_put_off_is_written_in_place_unless_it_is_shared_or_to_be_answered() {
        let (outbound, _read, mut client) = connected().await;
        let woken = Arc::new(Woken::default());
        outbound.register(&Waker::from(Arc::clone(&woken)));
        pace::rested();
        put_off(&outbound, &[9, 8], None);
        outbound.write_put_off();
        outbound.write_put_off();
        assert_eq!((outbound.bytes(), woken.0.load(Ordering::Relaxed)), (0, 0));
        let mut received = [0; 17];
        client.read_exact(&mut received).await.unwrap();
        assert_eq!(received, *[[9; 9].as_slice(), &[8; 8]].concat());
        for (sizes, tid) in [([4, COPIED + 1], None), ([5, 5], Some(3))] {
            outbound.register(&Waker::from(Arc::clone(&woken)));
            put_off(&outbound, &sizes, tid);
            outbound.write_put_off();
            assert_eq!(woken.0.swap(0, Ordering::Relaxed), 1);
            assert_eq!(outbound.bytes(), sizes.iter().sum::<usize>());
            taken(&outbound, usize::MAX);
        }
    }

    #[tokio::test]
    async fn a_written_request_is_answered_or_forgotten() {
        let (outbound, _read, _client) = connected().await;
        let mut answers = [1, 2].map(|tid| {
            pace::rested();
            let (reply, answer) = oneshot::channel();
            let waiter = Waiter::Task { reply, acks: None, held: None };
            let put_off = outbound.push_request(tid, waiter, 100, |out| out.extend([5; 5])).unwrap();
            assert_eq!((put_off, outbound.bytes()), (PutOff(false), 0));
            if tid == 1 {
                outbound.take(1, |item| match item {
                    Item::Written(Written { tid: 1, waiter: Some(waiter), .. }) => {
                        waiter.answer(Ok(RawJson::default()));
                    }
                    _ => panic!("it was written"),
                });
            }
            answer
        });
        assert!(answers[0].try_recv().unwrap().is_ok() && answers[1].try_recv().is_err());
        outbound.forget_waiters();
        assert_eq!(answers[1].try_recv().unwrap_err(), oneshot::error::TryRecvError::Closed);
        assert!(taken(&outbound, 100).is_empty());
    }

    #[tokio::test]
    async fn much_is_not_put_off() {
        let (outbound, _read, mut client) = connected().await;
        put_off(&outbound, &[2000; 13], None);
        assert_eq!(outbound.bytes(), 0, "25 KiB are written though the row is not over");
        client.read_exact(&mut [0; 26_000]).await.unwrap();
        let (outbound, woken) = asleep();
        Row::begin().handle(Company::Others, || {
            assert_eq!(outbound.push_event(&event(50), None, 100), Ok(PutOff(true)));
            assert_eq!(outbound.push_event(&event(1), None, 100), Ok(PutOff(false)), "half of the limit");
        });
        assert_eq!(woken(), 1);
    }

    /// Queues requests of this size until one is not written whole; its answer, and how much is left of it.
    fn fill(outbound: &Outbound, size: usize) -> (oneshot::Receiver<Result<RawJson, Error>>, usize) {
        loop {
            let (reply, answer) = oneshot::channel();
            let waiter = Waiter::Task { reply, acks: None, held: None };
            let pushed = outbound.push_request(7, waiter, usize::MAX, |out| out.resize(size, 5));
            assert_eq!(pushed, Ok(PutOff(false)));
            if outbound.bytes() > 0 {
                return (answer, outbound.bytes());
            }
            taken(outbound, 1);
        }
    }

    #[tokio::test]
    async fn of_a_partly_written_request_the_rest_and_its_waiter_come_out() {
        for size in [30_000, 29_001, 27_003] {
            let (outbound, _read, _client) = connected().await;
            let (mut answer, left) = fill(&outbound, size);
            if left == size {
                // None of it was written: the socket was full to the byte.
                continue;
            }
            let mut seen = None;
            outbound.take_begun(|item| match item {
                Item::Bytes(bytes) => assert_eq!(bytes.len(), left),
                Item::Request(_, waiter) => seen = Some(waiter),
                _ => panic!("neither"),
            });
            seen.unwrap().answer(Ok(RawJson::default()));
            assert!(answer.try_recv().unwrap().is_ok());
            return outbound.take_begun(|_| panic!("nothing is begun any more"));
        }
        panic!("no request was partly written");
    }

    #[tokio::test]
    async fn what_the_socket_does_not_take_of_what_was_put_off_is_left_to_the_task() {
        let (outbound, _read, mut client) = connected().await;
        let woken = Arc::new(Woken::default());
        outbound.register(&Waker::from(Arc::clone(&woken)));
        let mut sent = 0;
        let left = loop {
            put_off(&outbound, &[2000; 12], None);
            sent += 24_000;
            outbound.write_put_off();
            if outbound.bytes() > 0 {
                break outbound.bytes();
            }
        };
        assert_eq!((woken.0.load(Ordering::Relaxed), outbound.bytes()), (1, left));
        let mut rest = 0;
        outbound.take(usize::MAX, |item| match item {
            Item::Bytes(bytes) => rest += bytes.len(),
            _ => panic!("nothing but bytes"),
        });
        assert_eq!((rest, outbound.bytes()), (left, 0));
        let mut received = vec![0; sent - left];
        client.read_exact(&mut received).await.unwrap();
        assert!(received.iter().all(|byte| *byte == 2000_usize as u8));
    }

    #[tokio::test]
    async fn the_rest_of_a_partly_written_event_comes_first_and_is_not_dropped() {
        let (outbound, _read, mut client) = connected().await;
        let mut sent = 0;
        let rest = loop {
            pace::rested();
            sent += 1;
            let bytes = Bytes::from(vec![sent as u8; 2000]);
            assert_eq!(outbound.push_event(&bytes, None, usize::MAX).unwrap(), PutOff(false));
            if outbound.bytes() > 0 {
                break outbound.bytes();
            }
        };
        if rest < 2000 {
            assert_eq!(outbound.push_event(&event(50), None, 10), Err(PushError::Full));
            let mut begun = Vec::new();
            outbound.take_begun(|item| match item {
                Item::Bytes(bytes) => begun.extend_from_slice(bytes),
                _ => panic!("only bytes are begun"),
            });
            assert_eq!(begun, vec![sent as u8; rest]);
        }
        outbound.take_begun(|_| panic!("nothing is begun any more"));
        assert_eq!(outbound.discard(), u64::from(rest == 2000));
        let mut received = vec![0; sent * 2000 - rest];
        client.read_exact(&mut received).await.unwrap();
        assert_eq!(
            received.chunks(2000).map(|chunk| chunk[0]).collect::<Vec<_>>().len(),
            sent - usize::from(rest == 2000)
        );
    }

    #[test]
    fn many_events_are_shared_and_not_copied() {
        let outbound = Outbound::new(None);
        let bytes = event(COPIED);
        for _ in 0..100 {
            assert_eq!(outbound.push_event(&bytes, None, usize::MAX), Ok(PutOff(false)));
        }
        assert_eq!(outbound.queue.lock().own_bytes(), COPIED_IN_ALL);
        assert_eq!(
            taken(&outbound, usize::MAX).iter().map(|(_, length)| length).sum::<usize>(),
            100 * COPIED
        );
    }
}
