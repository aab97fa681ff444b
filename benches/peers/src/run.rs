//! What the connections of one measurement share: phases, counters, and the first thing that went wrong.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use parking_lot::Mutex;
use tokio::{sync::Notify, task::JoinSet, time::timeout};

use crate::{
    dialect::{Dialect, Incoming},
    framing::Outbox,
    link::{Gate, Link},
    process::Process,
};

/// Counters that connections share out among themselves.
const SHARDS: usize = 64;

/// How far the measurement is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Senders send.
    Load,
    /// Senders wait for what is in flight.
    Drain,
    /// Everything has arrived.
    Over,
}

/// A counter with a cache line to itself.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard(AtomicU64);

/// What all connections of a measurement share.
pub(crate) struct Run {
    began: Instant,
    phase: AtomicU8,
    done: Vec<Shard>,
    failure: Mutex<Option<String>>,
    failed: Notify,
    gates: Mutex<Vec<Arc<Gate>>>,
    latencies: Mutex<Histogram<u64>>,
    /// Latencies count from here, in nanoseconds of the run.
    measured_from: AtomicU64,
}

impl Run {
    pub(crate) fn new() -> Result<Arc<Self>, String> {
        let latencies =
            Histogram::new_with_bounds(1, 60_000_000_000, 3).map_err(|error| error.to_string())?;
        Ok(Arc::new(Self {
            began: Instant::now(),
            phase: AtomicU8::new(Phase::Load as u8),
            done: (0..SHARDS).map(|_| Shard::default()).collect(),
            failure: Mutex::default(),
            failed: Notify::new(),
            gates: Mutex::default(),
            latencies: Mutex::new(latencies),
            measured_from: AtomicU64::new(u64::MAX),
        }))
    }

    /// Nanoseconds since the run began.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Load,
            1 => Phase::Drain,
            _ => Phase::Over,
        }
    }

    fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Release);
        self.gates.lock().iter().for_each(|gate| gate.open());
    }

    /// Counts work that is done.
    pub(crate) fn add_done(&self, index: usize, count: u64) {
        if let Some(shard) = self.done.get(index % SHARDS) {
            shard.0.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// Work done so far.
    pub(crate) fn done(&self) -> u64 {
        self.done.iter().map(|shard| shard.0.load(Ordering::Relaxed)).sum()
    }

    /// Whether what was due then is measured.
    pub(crate) fn measures(&self, due: u64) -> bool {
        due >= self.measured_from.load(Ordering::Relaxed) && self.phase() == Phase::Load
    }

    /// Adds latencies, and forgets them.
    pub(crate) fn record(&self, latencies: &mut Vec<u64>) {
        let mut all = self.latencies.lock();
        latencies.drain(..).for_each(|latency| all.saturating_record(latency));
    }

    pub(crate) fn latencies(&self) -> Histogram<u64> {
        self.latencies.lock().clone()
    }

    fn fail(&self, problem: String) {
        self.failure.lock().get_or_insert(problem);
        self.failed.notify_one();
    }

    fn outcome(&self) -> Result<(), String> {
        self.failure.lock().clone().map_or(Ok(()), Err)
    }

    /// Waits; not longer than all goes well.
    pub(crate) async fn pass(&self, time: Duration) -> Result<(), String> {
        timeout(time, self.failed.notified()).await.ok();
        self.outcome()
    }
}

/// What a connection does.
pub(crate) trait Role: Send + 'static {
    /// Sends what is due.
    fn send(&mut self, _dialect: &mut dyn Dialect, _out: &mut Outbox) {}

    /// Takes what came at `now`, in nanoseconds of the run.
    ///
    /// # Errors
    ///
    /// It is not what had to come.
    fn take(
        &mut self,
        incoming: Incoming<'_>,
        now: u64,
        dialect: &mut dyn Dialect,
        out: &mut Outbox,
    ) -> Result<(), String>;

    /// Tells the others of what was taken since the last time.
    fn tell(&mut self) {}

    /// Whether it reads what comes. What it leaves unread piles up at the server.
    fn reads(&self) -> bool {
        true
    }

    /// Whether nothing is left to do in this phase.
    fn is_done(&self, phase: Phase) -> bool;

    /// Sees at the end that everything came.
    ///
    /// # Errors
    ///
    /// Something is missing.
    fn verify(&self) -> Result<(), String> {
        Ok(())
    }
}

/// What a measured interval gave.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measured {
    pub(crate) done: u64,
    pub(crate) seconds: f64,
    pub(crate) cpu_seconds: f64,
}

/// How long to measure.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) warmup: Duration,
    pub(crate) measure: Duration,
    /// How long what is in flight may take to arrive.
    pub(crate) drain: Duration,
}

/// The connections of a measurement.
pub(crate) struct Crew {
    pub(crate) run: Arc<Run>,
    senders: JoinSet<Option<Link>>,
    receivers: JoinSet<Option<Link>>,
}

impl Crew {
    pub(crate) fn new(run: Arc<Run>) -> Self {
        Self { run, senders: JoinSet::new(), receivers: JoinSet::new() }
    }

    /// Adds a connection that sends; it is waited for first.
    pub(crate) fn sender(&mut self, link: Link, role: impl Role, gate: Arc<Gate>) {
        self.run.gates.lock().push(Arc::clone(&gate));
        self.senders.spawn(drive(link, role, gate, Arc::clone(&self.run)));
    }

    /// Adds a connection that only answers.
    pub(crate) fn receiver(&mut self, link: Link, role: impl Role) {
        let gate = Arc::<Gate>::default();
        self.run.gates.lock().push(Arc::clone(&gate));
        self.receivers.spawn(drive(link, role, gate, Arc::clone(&self.run)));
    }

    /// Adds a sender that opens connections of its own.
    pub(crate) fn task(&mut self, work: impl Future<Output = Result<(), String>> + Send + 'static) {
        let run = Arc::clone(&self.run);
        self.senders.spawn(async move {
            work.await.unwrap_or_else(|problem| run.fail(problem));
            None
        });
    }

    /// Lets them warm up, measures, and sees that everything arrives.
    pub(crate) async fn measure(&mut self, plan: &Plan, server: &Process) -> Result<Measured, String> {
        self.run.pass(plan.warmup).await?;
        self.run.measured_from.store(self.run.now(), Ordering::Relaxed);
        let (start, done, cpu) = (Instant::now(), self.run.done(), server.cpu_seconds()?);
        self.run.pass(plan.measure).await?;
        let measured = Measured {
            done: self.run.done() - done,
            seconds: start.elapsed().as_secs_f64(),
            cpu_seconds: server.cpu_seconds()? - cpu,
        };
        self.finish(plan.drain).await?;
        Ok(measured)
    }

    /// Ends the load; everything has to arrive.
    async fn finish(&mut self, drain: Duration) -> Result<(), String> {
        let mut links = Vec::new();
        for (phase, tasks) in [(Phase::Drain, &mut self.senders), (Phase::Over, &mut self.receivers)] {
            self.run.enter(phase);
            let waiting = async {
                while let Some(ended) = tasks.join_next().await {
                    links.extend(ended.map_err(|error| error.to_string())?);
                }
                Ok::<(), String>(())
            };
            timeout(drain, waiting).await.map_err(|_| "what was in flight never arrived")??;
            self.run.outcome()?;
        }
        Ok(())
    }
}

/// Works until the phases say that it is done, or the connection breaks.
async fn drive(mut link: Link, mut role: impl Role, gate: Arc<Gate>, run: Arc<Run>) -> Option<Link> {
    let outcome = turns(&mut link, &mut role, &gate, &run).await;
    match outcome.and_then(|()| role.verify()) {
        Ok(()) => Some(link),
        Err(problem) => {
            run.fail(problem);
            None
        }
    }
}

async fn turns(link: &mut Link, role: &mut impl Role, gate: &Gate, run: &Run) -> Result<(), String> {
    while !role.is_done(run.phase()) {
        role.send(&mut *link.dialect, &mut link.outbox);
        if !role.reads() {
            link.turn_unread(gate).await?;
            continue;
        }
        link.turn(gate).await?;
        let now = run.now();
        while let Some(incoming) = link.dialect.next(&mut link.inbox, &mut link.outbox)? {
            role.take(incoming, now, &mut *link.dialect, &mut link.outbox)?;
        }
        role.tell();
    }
    Ok(())
}
