//! What waits for a server, in memory.

use std::collections::VecDeque;

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use crate::config::Overflow;

/// What a record takes besides its text, about: a queue of short ones must not grow past its limit either.
const OVERHEAD: usize = 64;

/// How much is taken at a time.
pub(crate) const BATCH_RECORDS: usize = 256;
pub(crate) const BATCH_BYTES: usize = 256 << 10;

/// Records in their order, bounded in bytes. Those that are being sent stay in it until that is done.
pub(crate) struct Queue {
    state: Mutex<State>,
    filled: Notify,
    limit: usize,
    overflow: Overflow,
}

#[derive(Default)]
struct State {
    records: VecDeque<Bytes>,
    bytes: usize,
    /// So many of the oldest are being sent, and cannot be dropped any more.
    taken: usize,
    closed: bool,
}

/// Why a queue takes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoRoom {
    Full,
    Closed,
}

/// A queue that is locked for one record to be put in.
pub(crate) struct Entry<'a> {
    queue: &'a Queue,
    state: MutexGuard<'a, State>,
}

impl Queue {
    pub(crate) fn new(limit: usize, overflow: Overflow) -> Self {
        Self { state: Mutex::default(), filled: Notify::new(), limit, overflow }
    }

    /// Locks the queue. Whoever locks several does so in the order of the servers.
    pub(crate) fn enter(&self) -> Entry<'_> {
        Entry { queue: self, state: self.state.lock() }
    }

    /// The oldest records, as soon as there are any; `None` once the queue is closed and empty. They stay in the queue
    /// until [`done`](Self::done); without that the same are given again. There is one who asks.
    pub(crate) async fn next(&self) -> Option<Vec<Bytes>> {
        loop {
            {
                let mut state = self.state.lock();
                if !state.records.is_empty() {
                    return Some(state.take());
                }
                if state.closed {
                    return None;
                }
            }
            self.filled.notified().await;
        }
    }

    /// The `n` oldest are done with. Says how many bytes are left.
    pub(crate) fn done(&self, n: usize) -> usize {
        let mut state = self.state.lock();
        for _ in 0..n {
            state.pop(0);
        }
        state.taken = state.taken.saturating_sub(n);
        state.bytes
    }

    /// Takes no more records.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.filled.notify_one();
    }

    /// Gives up what is left, and says how many records that were.
    pub(crate) fn abandon(&self) -> usize {
        let mut state = self.state.lock();
        let left = state.records.len();
        *state = State { closed: true, ..State::default() };
        left
    }
}

impl State {
    fn take(&mut self) -> Vec<Bytes> {
        let mut bytes = 0;
        let fits = |record: &&Bytes| {
            let first = bytes == 0;
            bytes += record.len();
            first || bytes <= BATCH_BYTES
        };
        let batch: Vec<Bytes> = self.records.iter().take(BATCH_RECORDS).take_while(fits).cloned().collect();
        self.taken = batch.len();
        batch
    }

    fn pop(&mut self, place: usize) {
        if let Some(record) = self.records.remove(place) {
            self.bytes = self.bytes.saturating_sub(weight(&record));
        }
    }
}

impl Entry<'_> {
    /// Whether a record of this length will be taken.
    pub(crate) fn admits(&self, record: &Bytes) -> Result<(), NoRoom> {
        if self.state.closed {
            return Err(NoRoom::Closed);
        }
        let needed = weight(record);
        let held = match self.queue.overflow {
            Overflow::Refuse => self.state.bytes,
            // All but those that are being sent can make room.
            Overflow::DropOldest => self.state.records.iter().take(self.state.taken).map(weight).sum(),
        };
        if held + needed <= self.queue.limit { Ok(()) } else { Err(NoRoom::Full) }
    }

    /// Puts a record in that was admitted. Says how many older ones were dropped for it, and how many bytes wait now.
    pub(crate) fn push(mut self, record: Bytes) -> (usize, usize) {
        let needed = weight(&record);
        let mut dropped = 0;
        while self.state.bytes + needed > self.queue.limit && self.state.records.len() > self.state.taken {
            let oldest = self.state.taken;
            self.state.pop(oldest);
            dropped += 1;
        }
        self.state.bytes += needed;
        self.state.records.push_back(record);
        let bytes = self.state.bytes;
        drop(self.state);
        self.queue.filled.notify_one();
        (dropped, bytes)
    }
}

fn weight(record: &Bytes) -> usize {
    record.len() + OVERHEAD
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(n: usize) -> Bytes {
        Bytes::from(format!("{n:036}"))
    }

    fn put(queue: &Queue, n: usize) -> Result<usize, NoRoom> {
        let entry = queue.enter();
        entry.admits(&record(n))?;
        Ok(entry.push(record(n)).0)
    }

    /// What waits; asks nothing of a queue that would have to wait.
    async fn waiting(queue: &Queue) -> Vec<Bytes> {
        queue.close();
        queue.next().await.unwrap_or_default()
    }

    #[tokio::test]
    async fn the_newest_is_refused() {
        let queue = Queue::new(300, Overflow::Refuse);
        assert_eq!([put(&queue, 1), put(&queue, 2), put(&queue, 3)], [Ok(0); 3]);
        assert_eq!(put(&queue, 4), Err(NoRoom::Full));
        assert_eq!(queue.next().await.unwrap().len(), 3);
        assert_eq!(queue.done(1), 200);
        assert_eq!(put(&queue, 5), Ok(0));
        assert_eq!(waiting(&queue).await, [record(2), record(3), record(5)]);
        assert_eq!(put(&queue, 6), Err(NoRoom::Closed));
    }

    #[tokio::test]
    async fn the_oldest_makes_room_unless_it_is_being_sent() {
        let queue = Queue::new(300, Overflow::DropOldest);
        put(&queue, 1).unwrap();
        assert_eq!(queue.next().await.unwrap(), [record(1)]);
        put(&queue, 2).unwrap();
        put(&queue, 3).unwrap();
        assert_eq!(put(&queue, 4), Ok(1));
        assert_eq!(queue.next().await.unwrap(), [record(1), record(3), record(4)]);
        assert_eq!(put(&queue, 5), Err(NoRoom::Full), "all are being sent");
        queue.done(2);
        assert_eq!(waiting(&queue).await, [record(4)]);
    }

    #[tokio::test]
    async fn what_never_fits_is_refused_and_drops_nothing() {
        for overflow in [Overflow::Refuse, Overflow::DropOldest] {
            let queue = Queue::new(300, overflow);
            put(&queue, 1).unwrap();
            assert_eq!(queue.enter().admits(&Bytes::from(vec![0; 300])), Err(NoRoom::Full));
            assert_eq!(waiting(&queue).await, [record(1)]);
        }
    }

    #[tokio::test]
    async fn what_was_not_done_is_given_again() {
        let queue = Queue::new(3000, Overflow::Refuse);
        put(&queue, 1).unwrap();
        put(&queue, 2).unwrap();
        assert_eq!(queue.next().await.unwrap(), queue.next().await.unwrap());
        assert_eq!(queue.abandon(), 2);
        assert!(queue.next().await.is_none());
    }

    proptest! {
        #[test]
        fn bytes_are_those_of_what_waits(steps in proptest::collection::vec((0usize..3, 0usize..200), 1..200), drop_oldest in any::<bool>()) {
            let overflow = if drop_oldest { Overflow::DropOldest } else { Overflow::Refuse };
            let queue = Queue::new(1000, overflow);
            for (what, size) in steps {
                match what {
                    0 => { let mut state = queue.state.lock(); if !state.records.is_empty() { state.take(); } }
                    1 => { let n = queue.state.lock().taken.min(size); queue.done(n); }
                    _ => {
                        let record = Bytes::from(vec![7; size]);
                        let entry = queue.enter();
                        if entry.admits(&record).is_ok() { entry.push(record); }
                    }
                }
                let state = queue.state.lock();
                prop_assert_eq!(state.bytes, state.records.iter().map(weight).sum::<usize>());
                prop_assert!(state.bytes <= 1000 && state.taken <= state.records.len());
            }
        }
    }
}
