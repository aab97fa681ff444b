//! Who publishes, who subscribes, and what is in flight between them.

use std::sync::{
    Arc,
    atomic::{AtomicU32, AtomicU64, Ordering},
};

use crate::{
    dialect::{Dialect, Incoming},
    framing::Outbox,
    link::Gate,
    pace::Pace,
    payload::{Order, Payload, Stamp},
    run::{Phase, Role, Run},
};

/// The topic of all events.
pub(crate) const TOPIC: &str = "bench";

/// Events that have not reached every subscriber yet.
pub(crate) struct Flight {
    subscribers: u32,
    /// For each event in flight, how many subscribers lack it.
    lacking: Vec<AtomicU32>,
    published: AtomicU64,
    /// Wakes the publisher.
    pub(crate) gate: Arc<Gate>,
}

impl Flight {
    pub(crate) fn new(window: usize, subscribers: usize) -> Arc<Self> {
        Arc::new(Self {
            subscribers: u32::try_from(subscribers).unwrap_or(u32::MAX),
            lacking: (0..window).map(|_| AtomicU32::new(0)).collect(),
            published: AtomicU64::new(0),
            gate: Arc::default(),
        })
    }

    fn place(&self, number: u64) -> Option<&AtomicU32> {
        self.lacking.get(usize::try_from(number).ok()? % self.lacking.len())
    }

    /// Puts an event in flight, where the window has room for it.
    fn depart(&self, number: u64) -> bool {
        let place = self.place(number).filter(|place| place.load(Ordering::Acquire) == 0);
        if let Some(place) = place {
            place.store(self.subscribers, Ordering::Release);
            self.published.store(number + 1, Ordering::Release);
        }
        place.is_some()
    }

    /// One subscriber has it; whether all have it now.
    fn arrive(&self, number: u64) -> bool {
        self.place(number).is_some_and(|place| place.fetch_sub(1, Ordering::AcqRel) == 1)
    }

    fn is_empty(&self) -> bool {
        self.lacking.iter().all(|place| place.load(Ordering::Acquire) == 0)
    }

    fn published(&self) -> u64 {
        self.published.load(Ordering::Acquire)
    }
}

/// Publishes.
pub(crate) struct Publisher {
    run: Arc<Run>,
    flight: Arc<Flight>,
    pace: Pace,
    next: u64,
    confirms: bool,
    confirmed: u64,
    payload: Payload,
}

impl Publisher {
    pub(crate) fn new(run: &Arc<Run>, flight: &Arc<Flight>, pace: Pace, dialect: &dyn Dialect) -> Self {
        Self {
            run: Arc::clone(run),
            flight: Arc::clone(flight),
            pace,
            next: 0,
            confirms: dialect.confirms(),
            confirmed: 0,
            payload: Payload::new(),
        }
    }
}

impl Role for Publisher {
    fn send(&mut self, dialect: &mut dyn Dialect, out: &mut Outbox) {
        while self.run.phase() == Phase::Load
            && let Some(due) = self.pace.due(self.next, self.run.now())
            && self.flight.depart(self.next)
        {
            dialect.publish(TOPIC, self.payload.stamped(Stamp { number: self.next, due }), out);
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
            Incoming::Answer { payload: b"", .. } | Incoming::Accepted => {
                self.confirmed += 1;
                Ok(())
            }
            Incoming::Housekeeping => Ok(()),
            other => Err(format!("a publisher gets {other:?}")),
        }
    }

    fn is_done(&self, phase: Phase) -> bool {
        let confirmed = !self.confirms || self.confirmed >= self.next;
        phase >= Phase::Drain && confirmed && self.flight.is_empty()
    }

    fn verify(&self) -> Result<(), String> {
        if self.confirms && self.confirmed != self.next {
            return Err(format!("{} confirmations of {} events", self.confirmed, self.next));
        }
        Ok(())
    }
}

/// What a subscriber measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measure {
    Deliveries,
    /// The time since an event was due.
    Latency,
}

/// Subscribes: every event comes once, and in order.
pub(crate) struct Subscriber {
    run: Arc<Run>,
    flight: Arc<Flight>,
    index: usize,
    measure: Measure,
    order: Order,
    payload: Payload,
    untold: u64,
    completed: u64,
    latencies: Vec<u64>,
}

impl Subscriber {
    pub(crate) fn new(run: &Arc<Run>, flight: &Arc<Flight>, index: usize, measure: Measure) -> Self {
        Self {
            run: Arc::clone(run),
            flight: Arc::clone(flight),
            index,
            measure,
            order: Order::default(),
            payload: Payload::new(),
            untold: 0,
            completed: 0,
            latencies: Vec::new(),
        }
    }
}

impl Role for Subscriber {
    fn take(
        &mut self,
        incoming: Incoming<'_>,
        now: u64,
        _dialect: &mut dyn Dialect,
        _out: &mut Outbox,
    ) -> Result<(), String> {
        match incoming {
            Incoming::Delivery { payload, .. } => {
                let stamp = self.payload.read(payload)?;
                self.order.take(stamp.number)?;
                self.untold += 1;
                self.completed += u64::from(self.flight.arrive(stamp.number));
                if self.measure == Measure::Latency && self.run.measures(stamp.due) {
                    self.latencies.push(now.saturating_sub(stamp.due));
                }
                Ok(())
            }
            Incoming::Housekeeping => Ok(()),
            other => Err(format!("a subscriber gets {other:?}")),
        }
    }

    fn tell(&mut self) {
        self.run.add_done(self.index, std::mem::take(&mut self.untold));
        if std::mem::take(&mut self.completed) > 0 {
            self.flight.gate.open();
        }
        if self.latencies.len() >= 256 {
            self.run.record(&mut self.latencies);
        }
    }

    fn is_done(&self, phase: Phase) -> bool {
        phase == Phase::Over
    }

    fn verify(&self) -> Result<(), String> {
        let (came, published) = (self.order.count(), self.flight.published());
        if came == published { Ok(()) } else { Err(format!("{came} of {published} events came")) }
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.run.record(&mut self.latencies);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{framing::Framing, system::System};

    /// A subscriber that gets events of these numbers, of which so many were published.
    fn receive(published: u64, numbers: &[u64]) -> Result<(), String> {
        let run = Run::new().unwrap();
        let flight = Flight::new(8, 1);
        (0..published).for_each(|number| assert!(flight.depart(number)));
        let mut subscriber = Subscriber::new(&run, &flight, 0, Measure::Deliveries);
        let (mut dialect, mut out) = (System::NatsTcp.dialect(), Outbox::new(Framing::Plain));
        let mut payload = Payload::new();
        for number in numbers {
            let payload = payload.stamped(Stamp { number: *number, due: 0 });
            let incoming = Incoming::Delivery { payload, reply_to: b"" };
            subscriber.take(incoming, 0, &mut *dialect, &mut out)?;
        }
        subscriber.tell();
        assert_eq!(run.done(), numbers.len() as u64);
        subscriber.verify()
    }

    #[test]
    fn what_is_lost_doubled_or_out_of_order_is_an_error() {
        receive(3, &[0, 1, 2]).unwrap();
        for wrong in [&[0, 1][..], &[0, 0], &[0, 2], &[1]] {
            receive(3, wrong).unwrap_err();
        }
    }

    #[test]
    fn no_more_than_the_window_is_in_flight() {
        let flight = Flight::new(2, 2);
        assert!(flight.depart(0) && flight.depart(1) && !flight.depart(2));
        assert!(!flight.arrive(0) && !flight.depart(2), "one subscriber lacks it");
        assert!(flight.arrive(0) && flight.depart(2) && !flight.is_empty());
        assert_eq!(flight.published(), 3);
    }
}
