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
use tokio::sync::oneshot;

/// What waits to be written to a connection, each already in the bytes that go to its socket.
pub enum Frame {
    /// An answer or an ack.
    Answer(Bytes),
    /// An event; with a `tid` it has to be answered.
    Event {
        /// The bytes, shared by all who get the same.
        bytes: Bytes,
        /// Under which id.
        tid: Option<u64>,
    },
    /// A request of the broker's.
    Request {
        /// The bytes.
        bytes: Bytes,
        /// Under which id.
        tid: u64,
        /// Who waits for the answer.
        waiter: Waiter,
    },
}

impl Frame {
    /// The bytes for the socket.
    pub fn bytes(&self) -> &Bytes {
        match self {
            Self::Answer(bytes) | Self::Event { bytes, .. } | Self::Request { bytes, .. } => bytes,
        }
    }
}

/// Who waits for the answer to a request of the broker's. Dropped without a word, the session has ended.
pub struct Waiter {
    /// Takes the answer.
    pub reply: oneshot::Sender<Result<RawJson, Error>>,
    /// Is told of acks.
    pub acks: Option<Context>,
    /// Let go of when nothing more can come, be it that nobody waited so long.
    pub held: Option<Arc<dyn Any + Send + Sync>>,
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
    frames: VecDeque<Frame>,
    closed: bool,
    /// Set when nobody will read answers any more.
    session_ended: bool,
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
    /// An empty queue.
    pub fn new() -> Self {
        Self { queue: Mutex::default(), bytes: AtomicUsize::new(0), waker: AtomicWaker::new() }
    }

    /// Queues a frame, in order, and wakes the writer if it had nothing to do.
    ///
    /// # Errors
    /// When the connection takes no more; the frame is dropped.
    pub fn push(&self, frame: Frame, limit: usize) -> Result<(), PushError> {
        let size = frame.bytes().len();
        let mut queue = self.queue.lock();
        if queue.closed || (queue.session_ended && matches!(frame, Frame::Request { .. })) {
            return Err(PushError::Closed);
        }
        let before = self.bytes.fetch_add(size, Ordering::Relaxed);
        // A single message may be larger than the limit: that is no sign of a client that does not read.
        if before > 0 && before + size > limit {
            self.bytes.fetch_sub(size, Ordering::Relaxed);
            queue.closed = true;
            drop(queue);
            self.waker.wake();
            return Err(PushError::Full);
        }
        let was_empty = queue.frames.is_empty();
        queue.frames.push_back(frame);
        drop(queue);
        if was_empty {
            self.waker.wake();
        }
        Ok(())
    }

    /// Takes frames out, in order, at most `frames` of them and none after `bytes`; `false` when there were none.
    pub fn take(&self, frames: usize, bytes: usize, mut each: impl FnMut(Frame)) -> bool {
        let mut queue = self.queue.lock();
        let mut taken = 0;
        for _ in 0..frames {
            if taken >= bytes {
                break;
            }
            let Some(frame) = queue.frames.pop_front() else { break };
            taken += frame.bytes().len();
            each(frame);
        }
        if queue.frames.is_empty() && queue.frames.capacity() > 64 {
            queue.frames = VecDeque::new();
        }
        drop(queue);
        self.bytes.fetch_sub(taken, Ordering::Relaxed);
        taken > 0
    }

    /// Gives up waiting for answers: the session has ended. Whoever waits for one is told so at once.
    pub fn forget_waiters(&self) {
        let mut queue = self.queue.lock();
        queue.session_ended = true;
        for frame in &mut queue.frames {
            if let Frame::Request { bytes, .. } = frame {
                *frame = Frame::Answer(std::mem::take(bytes));
            }
        }
    }

    /// Empties the queue and closes it, and says how many events were in it.
    pub fn discard(&self) -> u64 {
        let mut queue = self.queue.lock();
        queue.closed = true;
        let frames = std::mem::take(&mut queue.frames);
        drop(queue);
        self.bytes.store(0, Ordering::Relaxed);
        frames.iter().filter(|frame| matches!(frame, Frame::Event { .. })).count() as u64
    }

    /// The bytes in the queue.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Takes no more frames from now on.
    pub fn close(&self) {
        self.queue.lock().closed = true;
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

impl Default for Outbound {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(size: usize) -> Frame {
        Frame::Answer(Bytes::from(vec![0; size]))
    }

    #[test]
    fn the_limit_counts_what_is_queued() {
        let outbound = Outbound::new();
        outbound.push(answer(60), 100).unwrap();
        assert!(outbound.take(64, 1, |_| {}));
        outbound.push(answer(100), 100).unwrap();
        assert_eq!(outbound.push(answer(1), 100), Err(PushError::Full));
        assert_eq!(outbound.bytes(), 100);
        assert_eq!(outbound.push(answer(1), 1000), Err(PushError::Closed));
    }

    #[test]
    fn frames_leave_in_order() {
        let outbound = Outbound::new();
        for size in 1..=5 {
            outbound.push(answer(size), 100).unwrap();
        }
        let mut sizes = Vec::new();
        while outbound.take(2, 1000, |frame| sizes.push(frame.bytes().len())) {}
        assert_eq!(sizes, [1, 2, 3, 4, 5]);
    }
}
