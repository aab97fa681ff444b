//! Who asks, and who answers.

use std::{collections::VecDeque, sync::Arc};

use crate::{
    dialect::{Dialect, Incoming},
    framing::Outbox,
    pace::Pace,
    payload::{Order, Payload, Stamp},
    run::{Phase, Role, Run},
};

/// Who is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    /// The server, which sends the payload back or, as Jackfield's `ping`, nothing.
    Server,
    /// Another client, which sends the payload back.
    Client(String),
}

/// Keeps a number of requests in flight. Every one is answered once, with what was asked.
pub(crate) struct Requester {
    run: Arc<Run>,
    index: usize,
    asked: Asked,
    load: Load,
    /// Requests that are not answered yet, and when they were due.
    open: VecDeque<(u64, u64)>,
    next: u64,
    answered: u64,
    latencies: Vec<u64>,
    payload: Payload,
}

/// How much is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) pace: Pace,
    /// How many requests may be unanswered.
    pub(crate) window: usize,
    /// How many bytes may wait for the socket.
    pub(crate) unwritten: usize,
    pub(crate) answers: Answers,
}

/// When answers are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answers {
    AsTheyCome,
    /// Once nothing is sent any more.
    Afterwards,
}

impl Load {
    /// So many in flight, always.
    pub(crate) fn closed(window: usize) -> Self {
        Self { pace: Pace::Window, window, unwritten: usize::MAX, answers: Answers::AsTheyCome }
    }
}

impl Requester {
    pub(crate) fn new(run: &Arc<Run>, index: usize, asked: Asked, load: Load) -> Self {
        Self {
            run: Arc::clone(run),
            index,
            asked,
            load,
            open: VecDeque::new(),
            next: 0,
            answered: 0,
            latencies: Vec::new(),
            payload: Payload::new(),
        }
    }

    /// The answer is to an open request, and says what that one said.
    fn check(&mut self, tid: u64, payload: &[u8], now: u64) -> Result<(), String> {
        let place = self.open.iter().position(|(open, _)| *open == tid);
        let open = place.and_then(|place| self.open.remove(place));
        let (_, due) = open.ok_or_else(|| format!("an answer to {tid}, which is not open"))?;
        if matches!(self.load.pace, Pace::Every { .. }) && self.run.measures(due) {
            self.latencies.push(now.saturating_sub(due));
        }
        if payload.is_empty() && self.asked == Asked::Server {
            return Ok(());
        }
        let stamp = self.payload.read(payload)?;
        if stamp.number == tid { Ok(()) } else { Err(format!("{} in the answer to {tid}", stamp.number)) }
    }
}

impl Role for Requester {
    fn send(&mut self, dialect: &mut dyn Dialect, out: &mut Outbox) {
        while self.open.len() < self.load.window
            && out.bytes().len() < self.load.unwritten
            && self.run.phase() == Phase::Load
            && let Some(due) = self.load.pace.due(self.next, self.run.now())
        {
            let payload = self.payload.stamped(Stamp { number: self.next, due });
            match &self.asked {
                Asked::Server => dialect.ask_server(self.next, payload, out),
                Asked::Client(name) => dialect.request(name, self.next, payload, out),
            }
            self.open.push_back((self.next, due));
            self.next += 1;
        }
    }

    fn take(
        &mut self,
        incoming: Incoming<'_>,
        now: u64,
        _dialect: &mut dyn Dialect,
        _out: &mut Outbox,
    ) -> Result<(), String> {
        match incoming {
            Incoming::Answer { tid, payload } => {
                self.answered += 1;
                self.check(tid, payload, now)
            }
            Incoming::Housekeeping => Ok(()),
            other => Err(format!("a requester gets {other:?}")),
        }
    }

    fn tell(&mut self) {
        self.run.add_done(self.index, std::mem::take(&mut self.answered));
        if self.latencies.len() >= 256 {
            self.run.record(&mut self.latencies);
        }
    }

    fn reads(&self) -> bool {
        self.load.answers == Answers::AsTheyCome || self.run.phase() > Phase::Load
    }

    fn is_done(&self, phase: Phase) -> bool {
        phase >= Phase::Drain && self.open.is_empty()
    }
}

impl Drop for Requester {
    fn drop(&mut self) {
        self.run.record(&mut self.latencies);
    }
}

/// Answers requests with what they said.
pub(crate) struct Answerer {
    order: Order,
    payload: Payload,
}

impl Answerer {
    pub(crate) fn new() -> Self {
        Self { order: Order::default(), payload: Payload::new() }
    }
}

impl Role for Answerer {
    fn take(
        &mut self,
        incoming: Incoming<'_>,
        _now: u64,
        dialect: &mut dyn Dialect,
        out: &mut Outbox,
    ) -> Result<(), String> {
        match incoming {
            Incoming::Delivery { payload, reply_to } => {
                self.order.take(self.payload.read(payload)?.number)?;
                dialect.reply(reply_to, payload, out);
                Ok(())
            }
            Incoming::Housekeeping => Ok(()),
            other => Err(format!("an answerer gets {other:?}")),
        }
    }

    fn is_done(&self, phase: Phase) -> bool {
        phase == Phase::Over
    }
}
