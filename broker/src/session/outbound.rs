use std::{
    any::Any,
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Waker,
};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use jackfield_plugin_api::{Context, Error, RawJson};
use parking_lot::Mutex;
use tokio::{net::tcp::OwnedWriteHalf, sync::oneshot};

use super::pace;
use crate::codec::spare;

/// An event whose bytes are shared is copied instead when it has no more bytes than these, and the queue no more than
/// those: that is faster than sharing, and what a slow client makes many copies of stays shared.
const COPIED: usize = 2 << 10;
const COPIED_IN_ALL: usize = 32 << 10;

/// What is taken out of the queue, in order.
pub enum Item<'a> {
    /// Bytes for the socket.
    Bytes(&'a [u8]),
    /// Bytes for the socket that others get too.
    Shared(Bytes),
    /// The last bytes were an event that has to be answered under this id.
    Event(u64),
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
    Relay(Context),
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
            Self::Task { acks: Some(caller), .. } | Self::Relay(caller) => caller.ack(),
            Self::Task { acks: None, .. } => {}
        }
    }
}

/// The queue between those who have something for a connection and the task that writes to it. Bounded in bytes;
/// nobody ever waits to put something in.
pub struct Outbound {
    queue: Mutex<Queue>,
    /// The bytes in the queue.
    bytes: AtomicUsize,
    waker: AtomicWaker,
}

#[derive(Default)]
struct Queue {
    /// The socket, where others than its connection may write to it.
    writer: Option<Arc<OwnedWriteHalf>>,
    /// Whether the connection's task has something to write, or may have soon. It looks here once more before it rests.
    writing: bool,
    slots: VecDeque<Slot>,
    /// The bytes of all slots that have none of their own, in a row.
    own: Vec<u8>,
    /// How much of `own` has been taken out.
    taken: usize,
    closed: bool,
    /// Set when nobody will read answers any more.
    session_ended: bool,
}

enum Slot {
    /// Answers and acks.
    Answers {
        length: usize,
    },
    /// Events that nobody answers.
    Events {
        length: usize,
        count: u64,
    },
    /// An event that is to be answered.
    Event {
        length: usize,
        tid: u64,
    },
    Request {
        length: usize,
        tid: u64,
        waiter: Waiter,
    },
    Shared {
        bytes: Bytes,
        tid: Option<u64>,
    },
}

impl Slot {
    fn events(&self) -> u64 {
        match self {
            Self::Events { count, .. } => *count,
            Self::Event { length: 1.., .. } | Self::Shared { .. } => 1,
            Self::Event { .. } | Self::Answers { .. } | Self::Request { .. } => 0,
        }
    }
}

impl Queue {
    /// Notes that the last `more` bytes of `own` are an answer.
    fn note_answer(&mut self, more: usize) {
        match self.slots.back_mut() {
            Some(Slot::Answers { length }) => *length += more,
            _ => self.slots.push_back(Slot::Answers { length: more }),
        }
    }

    /// Notes that the last `more` bytes of `own` are an event.
    fn note_event(&mut self, more: usize, tid: Option<u64>) {
        match (self.slots.back_mut(), tid) {
            (_, Some(tid)) => self.slots.push_back(Slot::Event { length: more, tid }),
            (Some(Slot::Events { length, count }), None) => {
                *length += more;
                *count += 1;
            }
            (_, None) => self.slots.push_back(Slot::Events { length: more, count: 1 }),
        }
    }

    fn put_event(&mut self, bytes: &Bytes, tid: Option<u64>) {
        let length = bytes.len();
        if length > COPIED || self.own.len() - self.taken + length > COPIED_IN_ALL {
            return self.slots.push_back(Slot::Shared { bytes: bytes.clone(), tid });
        }
        self.buffer().extend_from_slice(bytes);
        self.note_event(length, tid);
    }

    /// Writes an event at once, where nothing comes before it and nobody else writes, and says how much of it.
    fn write_now(&self, bytes: &[u8]) -> usize {
        let Some(writer) = self.writer.as_ref().filter(|_| !self.writing && self.slots.is_empty()) else {
            return 0;
        };
        if !pace::allows() {
            return 0;
        }
        // Whatever is wrong with the socket, its connection will see that.
        writer.as_ref().as_ref().try_write(bytes).unwrap_or(0)
    }

    fn buffer(&mut self) -> &mut Vec<u8> {
        if self.own.capacity() == 0 {
            self.own = spare::take();
        }
        &mut self.own
    }

    /// Takes out what comes first, of answers at most `most` bytes, and says how many bytes these were.
    fn take(&mut self, most: usize, each: &mut impl FnMut(Item<'_>)) -> Option<usize> {
        let Self { slots, own, taken, .. } = self;
        if let Some(Slot::Answers { length }) = slots.front_mut()
            && *length > most
        {
            *length -= most;
            each(Item::Bytes(cut(own, taken, most)));
            return Some(most);
        }
        Some(match slots.pop_front()? {
            Slot::Answers { length } | Slot::Events { length, .. } => {
                each(Item::Bytes(cut(own, taken, length)));
                length
            }
            Slot::Event { length, tid } => {
                each(Item::Bytes(cut(own, taken, length)));
                each(Item::Event(tid));
                length
            }
            Slot::Request { length, tid, waiter } => {
                each(Item::Bytes(cut(own, taken, length)));
                each(Item::Request(tid, waiter));
                length
            }
            Slot::Shared { bytes, tid } => {
                let length = bytes.len();
                each(Item::Shared(bytes));
                tid.into_iter().for_each(|tid| each(Item::Event(tid)));
                length
            }
        })
    }

    /// Takes back what was put in last, which is `last` bytes long.
    fn drop_last(&mut self, last: usize) -> Option<Slot> {
        if !matches!(self.slots.back(), Some(Slot::Shared { .. })) {
            self.own.truncate(self.own.len() - last);
        }
        match self.slots.back_mut() {
            Some(Slot::Answers { length }) if *length > last => *length -= last,
            Some(Slot::Events { length, count }) if *length > last => {
                *length -= last;
                *count -= 1;
            }
            _ => return self.slots.pop_back(),
        }
        None
    }

    /// An empty queue keeps next to nothing.
    fn rest(&mut self) {
        if !self.slots.is_empty() {
            return;
        }
        self.taken = 0;
        spare::give_back(std::mem::take(&mut self.own));
        if self.slots.capacity() > 4 {
            self.slots = VecDeque::new();
        }
    }
}

/// The next bytes of `own`.
fn cut<'a>(own: &'a [u8], taken: &mut usize, length: usize) -> &'a [u8] {
    let start = *taken;
    *taken += length;
    own.get(start..*taken).unwrap_or_default()
}

/// Why a frame was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushError {
    /// The connection is being closed.
    Closed,
    /// The queue is over its limit. It is closed by this.
    Full,
}

impl Outbound {
    /// An empty queue, of a connection to whose socket others may write.
    pub fn new(writer: Option<Arc<OwnedWriteHalf>>) -> Self {
        let queue = Mutex::new(Queue { writer, ..Queue::default() });
        Self { queue, bytes: AtomicUsize::new(0), waker: AtomicWaker::new() }
    }

    /// Queues an answer or an ack that `write` appends to a buffer.
    ///
    /// # Errors
    /// When the connection takes no more.
    pub fn push_answer(&self, limit: usize, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), PushError> {
        self.push(limit, |queue| {
            let before = queue.buffer().len();
            write(&mut queue.own);
            let length = queue.own.len() - before;
            queue.note_answer(length);
            length
        })
    }

    /// Queues an event, or writes it at once, and says how many bytes were written; with a `tid` it has to be answered.
    ///
    /// # Errors
    /// When the connection takes no more.
    pub fn push_event(&self, bytes: &Bytes, tid: Option<u64>, limit: usize) -> Result<usize, PushError> {
        let mut written = 0;
        self.push(limit, |queue| {
            written = queue.write_now(bytes);
            match (bytes.len() - written, tid) {
                (0, None) => {}
                (rest, tid) if rest < bytes.len() => {
                    queue.buffer().extend_from_slice(bytes.get(written..).unwrap_or_default());
                    queue.note_event(rest, tid);
                }
                _ => queue.put_event(bytes, tid),
            }
            bytes.len() - written
        })?;
        Ok(written)
    }

    /// Queues a request of the broker's that `write` appends to a buffer.
    ///
    /// # Errors
    /// When the connection takes no more, or nobody will read its answers.
    pub fn push_request(
        &self,
        tid: u64,
        waiter: Waiter,
        limit: usize,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), PushError> {
        // Outside of the lock, under which a waiter must not be dropped: it may have something to say to this queue.
        let mut waiter = Some(waiter);
        let mut refused = false;
        let pushed = self.push(limit, |queue| {
            refused = queue.session_ended;
            let Some(waiter) = waiter.take_if(|_| !refused) else { return 0 };
            let before = queue.buffer().len();
            write(&mut queue.own);
            let length = queue.own.len() - before;
            queue.slots.push_back(Slot::Request { length, tid, waiter });
            length
        });
        if refused { Err(PushError::Closed) } else { pushed }
    }

    /// Queues what `put` appends, whose length it says, in order, and wakes the writer if it had nothing to do.
    fn push(&self, limit: usize, put: impl FnOnce(&mut Queue) -> usize) -> Result<(), PushError> {
        let mut queue = self.queue.lock();
        if queue.closed {
            return Err(PushError::Closed);
        }
        let was_empty = queue.slots.is_empty();
        let size = put(&mut queue);
        let wakes = was_empty && !queue.writing && !queue.slots.is_empty();
        let before = self.bytes.fetch_add(size, Ordering::Relaxed);
        // A single message may be larger than the limit: that is no sign of a client that does not read.
        if before > 0 && before + size > limit {
            self.bytes.fetch_sub(size, Ordering::Relaxed);
            queue.closed = true;
            let dropped = queue.drop_last(size);
            drop(queue);
            drop(dropped);
            self.waker.wake();
            return Err(PushError::Full);
        }
        drop(queue);
        if wakes {
            self.waker.wake();
        }
        Ok(())
    }

    /// Takes out what comes first, in order, about `most` bytes of it; `false` when there was nothing.
    pub fn take(&self, most: usize, mut each: impl FnMut(Item<'_>)) -> bool {
        let mut queue = self.queue.lock();
        if queue.slots.is_empty() {
            return false;
        }
        let mut taken = 0;
        while taken < most {
            let Some(length) = queue.take(most - taken, &mut each) else { break };
            taken += length;
        }
        queue.rest();
        drop(queue);
        self.bytes.fetch_sub(taken, Ordering::Relaxed);
        true
    }

    /// The connection's task is going to write: from now on nobody else does, nor wakes it.
    pub fn begin_writing(&self) {
        self.queue.lock().writing = true;
    }

    /// The connection's task has nothing more to write; `false` where there is something by now.
    pub fn end_writing(&self) -> bool {
        let mut queue = self.queue.lock();
        queue.writing = !queue.slots.is_empty();
        !queue.writing
    }

    /// Gives up waiting for answers: the session has ended. Whoever waits for one is told so at once.
    pub fn forget_waiters(&self) {
        let mut forgotten = Vec::new();
        let mut queue = self.queue.lock();
        queue.session_ended = true;
        for slot in &mut queue.slots {
            if let Slot::Request { length, .. } = slot {
                let answers = Slot::Answers { length: *length };
                forgotten.push(std::mem::replace(slot, answers));
            }
        }
        drop(queue);
    }

    /// Empties the queue and closes it, and says how many events were in it.
    pub fn discard(&self) -> u64 {
        let mut queue = self.queue.lock();
        queue.closed = true;
        queue.writer = None;
        let slots = std::mem::take(&mut queue.slots);
        queue.rest();
        drop(queue);
        self.bytes.store(0, Ordering::Relaxed);
        slots.iter().map(Slot::events).sum()
    }

    /// The bytes in the queue.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Takes no more frames from now on.
    pub fn close(&self) {
        let mut queue = self.queue.lock();
        queue.closed = true;
        queue.writer = None;
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
    use super::*;

    fn push(outbound: &Outbound, size: usize, limit: usize) -> Result<(), PushError> {
        outbound.push_answer(limit, |out| out.resize(out.len() + size, size as u8))
    }

    fn event(size: usize) -> Bytes {
        Bytes::from(vec![size as u8; size])
    }

    /// What comes out: bytes by their first and their number, events by their ids.
    fn taken(outbound: &Outbound, most: usize) -> Vec<(u8, usize)> {
        let mut taken = Vec::new();
        outbound.take(most, |item| match item {
            Item::Bytes(bytes) => taken.push((bytes[0], bytes.len())),
            Item::Shared(bytes) => taken.push((bytes[0], bytes.len())),
            Item::Event(tid) | Item::Request(tid, _) => taken.push((tid as u8, 0)),
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
            outbound.push_event(&event(10), None, 100).unwrap();
            assert_eq!(outbound.push_event(&event(size), None, 100), Err(PushError::Full));
            assert_eq!(outbound.discard(), 1);
        }
    }

    #[test]
    fn frames_leave_in_order() {
        let outbound = Outbound::new(None);
        push(&outbound, 1, 1 << 20).unwrap();
        outbound.push_event(&event(2), Some(7), 1 << 20).unwrap();
        outbound.push_event(&event(COPIED + 1), Some(8), 1 << 20).unwrap();
        outbound.push_event(&event(3), None, 1 << 20).unwrap();
        push(&outbound, 4, 1 << 20).unwrap();
        let large = (event(COPIED + 1)[0], COPIED + 1);
        assert_eq!(taken(&outbound, 3), [(1, 1), (2, 2), (7, 0)]);
        assert_eq!(taken(&outbound, 1 << 20), [large, (8, 0), (3, 3), (4, 4)]);
        assert_eq!(outbound.bytes(), 0);
    }

    #[test]
    fn what_is_long_is_taken_in_pieces() {
        let outbound = Outbound::new(None);
        push(&outbound, 100, 1000).unwrap();
        assert_eq!(taken(&outbound, 60), [(100, 60)]);
        assert_eq!(taken(&outbound, 60), [(100, 40)]);
        assert!(taken(&outbound, 60).is_empty());
    }

    #[test]
    fn many_events_are_shared_and_not_copied() {
        let outbound = Outbound::new(None);
        let bytes = event(COPIED);
        for _ in 0..100 {
            outbound.push_event(&bytes, None, usize::MAX).unwrap();
        }
        assert_eq!(outbound.queue.lock().own.len(), COPIED_IN_ALL);
        assert_eq!(
            taken(&outbound, usize::MAX).iter().map(|(_, length)| length).sum::<usize>(),
            100 * COPIED
        );
    }
}
