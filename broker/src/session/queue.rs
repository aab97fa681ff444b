use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use metrics::Counter;
use tokio::{net::tcp::OwnedWriteHalf, time::Instant};

use super::{Item, Waiter, pace};
use crate::codec::spare;

/// An event whose bytes are shared is copied instead when it has no more bytes than these, and the queue no more than
/// those: that is faster than sharing, and what a slow client makes many copies of stays shared.
pub(super) const COPIED: usize = 2 << 10;
pub(super) const COPIED_IN_ALL: usize = 32 << 10;

/// Answers are noted together up to so many bytes.
const TOGETHER: usize = 16 << 10;

/// So many written requests wait until the task notes them; who never answers must not fill the memory.
pub(super) const NOTED_TOGETHER: usize = 1024;

/// A socket that others than its connection may write to.
pub struct Writer {
    /// The socket's writing half.
    pub socket: Arc<OwnedWriteHalf>,
    /// Counts the bytes.
    pub sent: Counter,
}

impl Writer {
    /// Writes as much as the socket takes, and says how much.
    fn write(&self, bytes: &[u8]) -> usize {
        // Whatever is wrong with the socket, its connection will see that.
        let written = self.socket.as_ref().as_ref().try_write(bytes).unwrap_or(0);
        self.sent.increment(written as u64);
        written
    }
}

/// What waits to be written to a connection.
#[derive(Default)]
pub(super) struct Queue {
    /// The socket, where others than its connection may write to it.
    pub(super) writer: Option<Writer>,
    /// Whether the connection's task has something to write, or may have soon. It looks here once more before it rests.
    pub(super) writing: bool,
    /// Whether somebody will see to what waits: when that is more.
    pub(super) is_put_off: bool,
    /// Whether the task is to note written requests before it has something else to do.
    pub(super) is_due: bool,
    /// From when on an answer is due after the task next wakes by itself.
    pub(super) due_from: Option<Instant>,
    pub(super) takes: Takes,
    /// What was written and is to be answered. It comes before all that waits.
    written: Vec<Written>,
    slots: VecDeque<Slot>,
    /// The bytes of all slots that have none of their own, in a row.
    own: Vec<u8>,
    /// How much of `own` has been taken out.
    taken: usize,
    /// Whether what comes first is the rest of a message that is partly written, or of such a one in a row.
    begun: bool,
}

/// What a queue takes.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Takes {
    #[default]
    All,
    /// No requests, for nobody will read their answers any more.
    NoRequests,
    Nothing,
}

/// A request or an event that others wrote, and its connection's task is to know of.
pub struct Written {
    /// Its id.
    pub tid: u64,
    /// When it was written.
    pub at: Instant,
    /// Who waits for the answer to a request.
    pub waiter: Option<Waiter>,
}

/// One message, or several of a kind in a row.
pub(super) enum Slot {
    /// Answers and acks.
    Answers { length: usize },
    /// Events that nobody answers.
    Events { length: usize, count: u64 },
    /// An event that is to be answered.
    Event { length: usize, tid: u64 },
    /// A request of the broker's.
    Request { length: usize, tid: u64, waiter: Waiter },
    /// An event whose bytes others have too.
    Shared { bytes: Bytes, tid: Option<u64> },
}

impl Slot {
    /// How many events it is.
    pub(super) fn events(&self) -> u64 {
        match self {
            Self::Events { count, .. } => *count,
            Self::Event { .. } | Self::Shared { .. } => 1,
            Self::Answers { .. } | Self::Request { .. } => 0,
        }
    }
}

impl Queue {
    pub(super) fn new(writer: Option<Writer>) -> Self {
        Self { writer, ..Self::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Appends an answer that `write` appends to a buffer, and says how long it is.
    pub(super) fn put_answer(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> usize {
        let more = self.write_own(write);
        match self.slots.back_mut() {
            Some(Slot::Answers { length }) if !self.begun && *length + more <= TOGETHER => *length += more,
            _ => self.slots.push_back(Slot::Answers { length: more }),
        }
        more
    }

    /// Appends a request, likewise.
    pub(super) fn put_request(
        &mut self,
        tid: u64,
        waiter: Waiter,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> usize {
        let length = self.write_own(write);
        self.slots.push_back(Slot::Request { length, tid, waiter });
        length
    }

    fn write_own(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> usize {
        if self.own.capacity() == 0 {
            self.own = spare::take();
        }
        let before = self.own.len();
        write(&mut self.own);
        self.own.len() - before
    }

    /// Appends an event, and says how long it is.
    pub(super) fn put_event(&mut self, bytes: &Bytes, tid: Option<u64>) -> usize {
        let length = bytes.len();
        if length > COPIED || self.own.len() - self.taken + length > COPIED_IN_ALL {
            self.slots.push_back(Slot::Shared { bytes: bytes.clone(), tid });
        } else {
            self.write_own(|own| own.extend_from_slice(bytes));
            self.note_event(length, tid);
        }
        length
    }

    /// Notes that the last `more` bytes of `own` are an event.
    fn note_event(&mut self, more: usize, tid: Option<u64>) {
        match (self.slots.back_mut(), tid) {
            (_, Some(tid)) => self.slots.push_back(Slot::Event { length: more, tid }),
            (Some(Slot::Events { length, count }), None) if !self.begun => {
                *length += more;
                *count += 1;
            }
            (_, None) => self.slots.push_back(Slot::Events { length: more, count: 1 }),
        }
    }

    /// Writes as much of what waits as the socket takes, where that pays, and says how much. Nothing where something of it
    /// is shared or long, nor where several messages wait of which one is to be answered: the task will have a turn for
    /// that, and write more in it.
    pub(super) fn write_waiting(&mut self) -> usize {
        let Some(writer) = &self.writer else { return 0 };
        let is_one = self.slots.len() == 1;
        let is_left = |slot: &Slot| match slot {
            Slot::Answers { .. } | Slot::Events { .. } => false,
            Slot::Event { .. } | Slot::Request { .. } => !is_one,
            Slot::Shared { .. } => true,
        };
        let waiting = self.own.get(self.taken..).unwrap_or_default();
        let is_long = waiting.len() > COPIED_IN_ALL;
        if is_long || self.slots.iter().any(is_left) || !pace::allows(waiting.len()) {
            return 0;
        }
        let written = writer.write(waiting);
        if written > 0 {
            self.forget_written(written);
        }
        written
    }

    fn forget_written(&mut self, mut written: usize) {
        self.taken += written;
        while written > 0
            && let Some(
                Slot::Answers { length }
                | Slot::Events { length, .. }
                | Slot::Event { length, .. }
                | Slot::Request { length, .. },
            ) = self.slots.front_mut()
        {
            self.begun = *length > written;
            if self.begun {
                *length -= written;
                break;
            }
            written -= *length;
            match self.slots.pop_front() {
                Some(Slot::Event { tid, .. }) => self.note_written(tid, None),
                Some(Slot::Request { tid, waiter, .. }) => self.note_written(tid, Some(waiter)),
                _ => {}
            }
        }
        self.rest();
    }

    /// Keeps what was written and is to be answered. The task notes it when it has something else to do, unless its
    /// answer may be due before.
    fn note_written(&mut self, tid: u64, waiter: Option<Waiter>) {
        let at = Instant::now();
        if self.written.capacity() == 0 {
            self.written.reserve_exact(1);
        }
        self.written.push(Written { tid, at, waiter });
        self.is_due |= self.due_from.is_none_or(|due_from| at < due_from)
            || self.written.len().is_multiple_of(NOTED_TOGETHER);
    }

    /// Takes out what was written and is to be answered.
    pub(super) fn take_written(&mut self, each: &mut impl FnMut(Item<'_>)) {
        self.is_due = false;
        self.written.drain(..).for_each(|written| each(Item::Written(written)));
        if self.written.capacity() > 4 {
            self.written = Vec::new();
        }
    }

    /// Takes out what comes first, and says how many bytes that was. Messages are not cut.
    pub(super) fn take(&mut self, each: &mut impl FnMut(Item<'_>)) -> Option<usize> {
        let slot = self.slots.pop_front()?;
        self.begun = false;
        let (length, request) = match slot {
            Slot::Shared { bytes, tid } => {
                let length = bytes.len();
                each(Item::Shared(bytes));
                tid.into_iter().for_each(|tid| each(Item::Event(tid)));
                return Some(length);
            }
            Slot::Answers { length } | Slot::Events { length, .. } => (length, None),
            Slot::Event { length, tid } => (length, Some(Item::Event(tid))),
            Slot::Request { length, tid, waiter } => (length, Some(Item::Request(tid, waiter))),
        };
        each(Item::Bytes(self.own.get(self.taken..self.taken + length).unwrap_or_default()));
        self.taken += length;
        request.into_iter().for_each(each);
        Some(length)
    }

    /// Takes out the rest of what is partly written, if there is any.
    pub(super) fn take_begun(&mut self, each: &mut impl FnMut(Item<'_>)) -> usize {
        if self.begun { self.take(each).unwrap_or_default() } else { 0 }
    }

    /// Takes back what was put in last, which is `last` bytes long.
    pub(super) fn drop_last(&mut self, last: usize) -> Option<Slot> {
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

    /// Turns requests into plain bytes, and gives those who wait for their answers.
    pub(super) fn forget_waiters(&mut self) -> Vec<Waiter> {
        let mut waiters: Vec<_> = self.written.drain(..).filter_map(|written| written.waiter).collect();
        for slot in &mut self.slots {
            let Slot::Request { length, .. } = slot else { continue };
            let answers = Slot::Answers { length: *length };
            if let Slot::Request { waiter, .. } = std::mem::replace(slot, answers) {
                waiters.push(waiter);
            }
        }
        waiters
    }

    pub(super) fn take_all(&mut self) -> (Vec<Written>, VecDeque<Slot>) {
        let all = (std::mem::take(&mut self.written), std::mem::take(&mut self.slots));
        self.rest();
        all
    }

    /// Lets go of what was taken out. An empty queue keeps next to nothing.
    pub(super) fn rest(&mut self) {
        if !self.slots.is_empty() {
            if self.taken > self.own.len() / 2 {
                self.own.drain(..self.taken);
                self.taken = 0;
            }
            return;
        }
        self.taken = 0;
        spare::give_back(std::mem::take(&mut self.own));
        if self.slots.capacity() > 4 {
            self.slots = VecDeque::new();
        }
    }

    /// The bytes that this keeps memory for, those of shared frames apart.
    #[cfg(test)]
    pub(super) fn own_bytes(&self) -> usize {
        self.own.len()
    }
}
