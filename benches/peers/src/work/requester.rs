//! Who asks, and who answers.

use std::{collections::VecDeque, sync::Arc};

use crate::{
    dialect::{Dialect, Incoming},
    framing::Outbox,
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
    window: usize,
    /// Requests that are not answered yet.
    open: VecDeque<u64>,
    next: u64,
    answered: u64,
    payload: Payload,
}

impl Requester {
    pub(crate) fn new(run: &Arc<Run>, index: usize, asked: Asked, window: usize) -> Self {
        Self {
            run: Arc::clone(run),
            index,
            asked,
            window,
            open: VecDeque::with_capacity(window),
            next: 0,
            answered: 0,
            payload: Payload::new(),
        }
    }

    /// The answer is to an open request, and says what that one said.
    fn check(&mut self, tid: u64, payload: &[u8]) -> Result<(), String> {
        let place = self.open.iter().position(|open| *open == tid);
        let place = place.ok_or_else(|| format!("an answer to {tid}, which is not open"))?;
        self.open.remove(place);
        if payload.is_empty() && self.asked == Asked::Server {
            return Ok(());
        }
        let stamp = self.payload.read(payload)?;
        if stamp.number == tid { Ok(()) } else { Err(format!("{} in the answer to {tid}", stamp.number)) }
    }
}

impl Role for Requester {
    fn send(&mut self, dialect: &mut dyn Dialect, out: &mut Outbox) {
        while self.open.len() < self.window && self.run.phase() == Phase::Load {
            let payload = self.payload.stamped(Stamp { number: self.next, due: 0 });
            match &self.asked {
                Asked::Server => dialect.ask_server(self.next, payload, out),
                Asked::Client(name) => dialect.request(name, self.next, payload, out),
            }
            self.open.push_back(self.next);
            self.next += 1;
        }
    }

    fn take(
        &mut self,
        incoming: Incoming<'_>,
        _now: u64,
        _dialect: &mut dyn Dialect,
        _out: &mut Outbox,
    ) -> Result<(), String> {
        match incoming {
            Incoming::Answer { tid, payload } => {
                self.answered += 1;
                self.check(tid, payload)
            }
            Incoming::Housekeeping => Ok(()),
            other => Err(format!("a requester gets {other:?}")),
        }
    }

    fn tell(&mut self) {
        self.run.add_done(self.index, std::mem::take(&mut self.answered));
    }

    fn is_done(&self, phase: Phase) -> bool {
        phase >= Phase::Drain && self.open.is_empty()
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
