//! Leads a run through its phases, and collects what the connections counted.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use tokio::{
    task::JoinSet,
    time::{sleep, sleep_until, timeout_at},
};

use super::{
    clock::{Phase, Shared},
    connection::{Connection, Gate},
    drive::{Ended, Role},
    pace,
    progress::Progress,
    report::{Report, Settings, Usage},
    scenario::Scenario,
    site::{Crew, Site},
    tally::Tally,
    usage::{Machine, Pid, own_cpu_time},
};
use crate::cli::connect::Failure;

/// How often the progress is shown.
const TICK: Duration = Duration::from_millis(200);

/// Drives the load and says what came of it.
pub(super) async fn run(scenario: &Scenario) -> Result<Report, Failure> {
    let common = scenario.common();
    let site = Site::new(&common.connect)?;
    let memory_before = common.pid.and_then(Pid::resident_bytes);
    let crew = scenario.crew(&site).await?;
    let settings = scenario.settings();
    let mut run = Run::start(crew, &site, &settings)?;

    run.load_for("warming up", common.warmup).await;
    let before = Snapshot::take(&site.shared, common.pid);
    run.load_for("measuring", common.duration).await;
    let after = Snapshot::take(&site.shared, common.pid);
    let memory = common.pid.and_then(Pid::resident_bytes);
    let tally = run.wind_up(site.timeout).await;

    let latencies = site.shared.latencies.lock().clone();
    let usage = Usage {
        own_cpu: after.own_cpu.saturating_sub(before.own_cpu),
        broker_cpu: after
            .broker_cpu
            .zip(before.broker_cpu)
            .map(|(after, before)| after.saturating_sub(before)),
        machine: after.machine.zip(before.machine).and_then(|(after, before)| after.busy_since(before)),
        memory_before,
        memory,
    };
    let seconds = after.moment.saturating_duration_since(before.moment).as_secs_f64();
    Ok(Report::new(settings, seconds, after.since(&before), &latencies, tally, &usage))
}

/// What is counted while the load goes on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counts {
    pub(super) completed: u64,
    pub(super) bytes_sent: u64,
    pub(super) bytes_received: u64,
}

/// How far everything was at a moment.
struct Snapshot {
    moment: Instant,
    own_cpu: Duration,
    broker_cpu: Option<Duration>,
    machine: Option<Machine>,
    counts: Counts,
}

impl Snapshot {
    fn take(shared: &Shared, pid: Option<Pid>) -> Self {
        Self {
            moment: Instant::now(),
            own_cpu: own_cpu_time(),
            broker_cpu: pid.and_then(Pid::cpu_time),
            machine: Machine::now(),
            counts: Counts {
                completed: shared.completed.load(Ordering::Relaxed),
                bytes_sent: shared.bytes_sent.load(Ordering::Relaxed),
                bytes_received: shared.bytes_received.load(Ordering::Relaxed),
            },
        }
    }

    fn since(&self, before: &Self) -> Counts {
        Counts {
            completed: self.counts.completed - before.counts.completed,
            bytes_sent: self.counts.bytes_sent - before.counts.bytes_sent,
            bytes_received: self.counts.bytes_received - before.counts.bytes_received,
        }
    }
}

/// The connections' tasks, under way.
struct Run {
    shared: Arc<Shared>,
    tasks: JoinSet<Ended>,
    gates: Vec<Arc<Gate>>,
    /// How many of those who send are still there.
    senders: usize,
    published: Vec<u64>,
    tally: Tally,
    /// Those whose work is done.
    done: Vec<Connection>,
}

impl Run {
    fn start(crew: Crew, site: &Site, settings: &Settings) -> Result<Self, Failure> {
        let shared = Arc::clone(&site.shared);
        shared.begin(Duration::from_secs_f64(settings.warmup_seconds));
        let senders = crew.senders.len();
        if let Some(rate) = settings.rate {
            pace::keep_time(Arc::clone(&shared), crew.senders, rate)
                .map_err(|error| Failure::run_time(format!("cannot start a thread: {error}")))?;
        }
        let mut tasks = JoinSet::new();
        for task in crew.tasks {
            tasks.spawn(task);
        }
        let published = vec![0; senders];
        Ok(Self {
            shared,
            tasks,
            gates: crew.gates,
            senders,
            published,
            tally: Tally::default(),
            done: Vec::new(),
        })
    }

    /// Lets the load go on. A connection that ends meanwhile is lost, and ends it at once.
    async fn load_for(&mut self, what: &'static str, duration: Duration) {
        if self.shared.phase() != Phase::Load {
            return;
        }
        let shared = Arc::clone(&self.shared);
        tokio::select! {
            () = pass(what, duration, &shared) => {}
            ended = self.tasks.join_next() => {
                if let Some(ended) = ended {
                    self.count(ended);
                }
                self.enter(Phase::Drain);
            }
        }
    }

    /// Waits for answers, then for events, each for `limit` at most.
    async fn wind_up(mut self, limit: Duration) -> Tally {
        self.enter(Phase::Drain);
        self.collect(limit, |run| run.senders == 0).await;
        drop(self.shared.published.set(self.published.clone()));
        self.enter(Phase::Close);
        self.collect(limit, |_| false).await;
        self.enter(Phase::Abort);
        self.collect(limit, |_| false).await;
        let stuck = self.tasks.len() as u64;
        if stuck > 0 {
            self.tally.connections_lost += stuck;
            self.tally.problem(|| "a connection's task does not end".into());
        }
        // The other side may be gone by now; what was counted stands.
        let goodbyes: JoinSet<_> = self.done.into_iter().map(Connection::close).collect();
        goodbyes.join_all().await;
        self.tally
    }

    /// Takes in what has ended, until `enough`, or none is left, or the time is over.
    async fn collect(&mut self, limit: Duration, enough: impl Fn(&Self) -> bool) {
        let deadline = tokio::time::Instant::now() + limit;
        while !enough(self) {
            let Ok(Some(ended)) = timeout_at(deadline, self.tasks.join_next()).await else { return };
            self.count(ended);
        }
    }

    fn count(&mut self, ended: Result<Ended, tokio::task::JoinError>) {
        let Ok(Ended { role, tally, connection }) = ended else {
            self.tally.wrong += 1;
            return self.tally.problem(|| "the load generator failed".into());
        };
        if let Role::Asks(index) = role {
            self.senders -= 1;
            if let Some(published) = self.published.get_mut(index) {
                *published = tally.sent;
            }
        }
        self.tally.add(tally);
        self.done.extend(connection);
    }

    fn enter(&self, phase: Phase) {
        if phase > self.shared.phase() {
            self.shared.set_phase(phase);
        }
        self.gates.iter().for_each(|gate| gate.open());
    }
}

/// Waits, and shows that it goes on.
async fn pass(what: &'static str, duration: Duration, shared: &Shared) {
    let begin = tokio::time::Instant::now();
    let milliseconds = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let progress = Progress::new(what, milliseconds(duration));
    let show = async {
        let mut before = shared.completed.load(Ordering::Relaxed);
        loop {
            sleep(TICK).await;
            let completed = shared.completed.load(Ordering::Relaxed);
            let rate = (completed - before) as f64 / TICK.as_secs_f64();
            progress.set(milliseconds(begin.elapsed()), format!("{rate:.0}/s"));
            before = completed;
        }
    };
    tokio::select! {
        () = show => {}
        () = sleep_until(begin + duration) => {}
    }
}
