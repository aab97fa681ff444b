//! The task of one connection.

use std::sync::{Arc, atomic::Ordering};

use super::{
    clock::{Phase, Shared},
    connection::{Broken, Connection, Gate},
    framing::Outbox,
    tally::Tally,
};

/// What a connection does.
pub(super) trait Work: Send {
    /// Sends what is due. Those that only answer have nothing.
    fn send_due(&mut self, _outbox: &mut Outbox) {}

    /// Takes a message that came at `now`.
    fn take(&mut self, message: &[u8], now: u64, outbox: &mut Outbox);

    /// Tells the others of what was taken since the last time: at once, for counters that all share are dear.
    fn tell_others(&mut self) {}

    /// Whether nothing is left to do in this phase.
    fn is_done(&self, phase: Phase) -> bool;

    /// What was counted; `end_of_load` is when sending ended.
    fn finish(&mut self, end_of_load: u64) -> Tally;
}

/// Which kind of connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// It made requests; fired events where it is that publisher.
    Asks(usize),
    /// It waited for what came.
    Answers,
}

/// What is left of a connection.
pub(super) struct Ended {
    pub(super) role: Role,
    pub(super) tally: Tally,
    /// Still open: a goodbye may take its time, which the counting must not wait for.
    pub(super) connection: Option<Connection>,
}

/// Works until the phases say that it is done, or the connection breaks.
pub(super) async fn drive(
    mut connection: Connection,
    mut work: Box<dyn Work>,
    role: Role,
    gate: Arc<Gate>,
    shared: Arc<Shared>,
) -> Ended {
    let outcome = turns(&mut connection, &mut *work, &gate, &shared).await;
    let mut tally = work.finish(shared.end_of_load());
    let connection = match outcome {
        Ok(()) => Some(connection),
        Err(broken) => {
            // That it broke is why answers are missing, so it is what to tell.
            if tally.is_clean_but_for_losses() {
                tally.first_problem = None;
            }
            tally.connections_lost = 1;
            tally.problem(|| broken.to_string());
            None
        }
    };
    Ended { role, tally, connection }
}

async fn turns(
    connection: &mut Connection,
    work: &mut dyn Work,
    gate: &Gate,
    shared: &Shared,
) -> Result<(), Broken> {
    loop {
        let phase = shared.phase();
        if phase == Phase::Abort || work.is_done(phase) {
            return Ok(());
        }
        work.send_due(connection.outbox());
        let turned = connection.turn(gate).await;
        let now = shared.now();
        shared.bytes_sent.fetch_add(std::mem::take(&mut connection.traffic.sent), Ordering::Relaxed);
        shared.bytes_received.fetch_add(std::mem::take(&mut connection.traffic.received), Ordering::Relaxed);
        let taken = connection.each_message(|message, outbox| work.take(message, now, outbox));
        work.tell_others();
        taken.and(turned)?;
    }
}
