//! What came of a run: a table for people, one object for programs.

use std::{fmt::Write, time::Duration};

use hdrhistogram::Histogram;
use serde::Serialize;

use super::{
    run::Counts,
    scenario::cores,
    tally::Tally,
    verdict::{Evidence, Limit},
};

/// What was asked for.
#[derive(Debug, Default, Clone, Serialize)]
pub(super) struct Settings {
    pub(super) scenario: &'static str,
    pub(super) url: String,
    pub(super) connections: usize,
    pub(super) publishers: Option<usize>,
    pub(super) mode: Option<&'static str>,
    pub(super) command: Option<String>,
    pub(super) depth: Option<usize>,
    pub(super) payload_bytes: Option<usize>,
    pub(super) rate: Option<f64>,
    pub(super) duration_seconds: f64,
    pub(super) warmup_seconds: f64,
    pub(super) threads: usize,
}

/// What the two sides used while it was measured.
#[derive(Debug)]
pub(super) struct Usage {
    pub(super) own_cpu: Duration,
    pub(super) broker_cpu: Option<Duration>,
    /// The share of this machine's CPU time that was used, by whomever.
    pub(super) machine: Option<f64>,
    /// Resident, before the first connection was made.
    pub(super) memory_before: Option<u64>,
    pub(super) memory: Option<u64>,
}

/// The results.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    settings: Settings,
    /// For how long it was measured.
    seconds: f64,
    completed: u64,
    per_second: f64,
    bytes_sent: u64,
    bytes_received: u64,
    latency_us: Option<Latency>,
    checks: Tally,
    first_problem: Option<String>,
    client: Client,
    broker: Option<Broker>,
    limit: Limit,
    verdict: String,
}

/// In microseconds.
#[derive(Debug, Serialize)]
struct Latency {
    count: u64,
    mean: f64,
    p50: f64,
    p90: f64,
    p99: f64,
    p99_9: f64,
    max: f64,
}

#[derive(Debug, Serialize)]
struct Client {
    cpu_seconds: f64,
    cores_used: f64,
}

#[derive(Debug, Serialize)]
struct Broker {
    cpu_seconds: f64,
    cores_used: f64,
    /// `null` where the broker used too little to tell.
    per_cpu_second: Option<f64>,
    resident_bytes: Option<u64>,
    resident_bytes_per_session: Option<f64>,
}

impl Report {
    pub(super) fn new(
        settings: Settings,
        seconds: f64,
        counts: Counts,
        latencies: &Histogram<u64>,
        mut checks: Tally,
        usage: &Usage,
    ) -> Self {
        let client = Client::new(usage, seconds);
        let broker = Broker::new(usage, seconds, counts.completed, &settings);
        let evidence = Evidence {
            cores: cores(),
            threads: settings.threads,
            client: client.cores_used,
            broker: broker.as_ref().map(|broker| broker.cores_used),
            machine: usage.machine,
            kept: settings.rate.map(|_| kept(&checks)),
            has_load: settings.scenario != "idle",
        };
        Self {
            seconds,
            completed: counts.completed,
            per_second: counts.completed as f64 / seconds,
            bytes_sent: counts.bytes_sent,
            bytes_received: counts.bytes_received,
            latency_us: Latency::of(latencies),
            first_problem: checks.first_problem.take(),
            checks,
            client,
            broker,
            limit: evidence.limit(),
            verdict: evidence.explained(),
            settings,
        }
    }

    /// What to say where not all went well.
    pub(super) fn complaint(&self) -> Option<String> {
        if self.checks.is_clean() {
            return None;
        }
        let Tally { errors, lost, duplicates, out_of_order, wrong, connections_lost, .. } = &self.checks;
        let counts = [
            (errors, "errors"),
            (lost, "lost"),
            (duplicates, "duplicates"),
            (out_of_order, "out of order"),
            (wrong, "wrong"),
            (connections_lost, "connections lost"),
        ];
        let found: Vec<String> = counts
            .iter()
            .filter(|(count, _)| **count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        let first = self.first_problem.as_deref().unwrap_or("unknown");
        Some(format!("not all went well: {}; the first: {first}", found.join(", ")))
    }

    /// The results for people.
    pub(super) fn table(&self) -> String {
        let mut lines = vec![("scenario", self.settings.in_words())];
        let unit = self.settings.unit();
        if self.settings.scenario == "idle" {
            lines.push(("held for", format!("{:.1} s", self.seconds)));
        } else {
            let (seconds, rate) = (self.seconds, self.per_second);
            lines.push((
                "completed",
                format!("{} {unit} in {seconds:.2} s, {rate:.0} a second", self.completed),
            ));
        }
        let megabytes = |bytes: u64| bytes as f64 / 1e6 / self.seconds;
        let (sent, received) = (megabytes(self.bytes_sent), megabytes(self.bytes_received));
        lines.push(("bytes", format!("{sent:.2} MB/s sent, {received:.2} MB/s received")));
        lines.extend(self.latency_us.as_ref().map(|latency| ("latency", latency.in_words())));
        lines.push(("verified", self.verified()));
        lines.extend(self.broker.as_ref().map(|broker| ("broker", broker.in_words(unit))));
        lines.push(("limit", self.verdict.clone()));
        let mut table = String::new();
        for (name, text) in lines {
            // Writing to a string cannot fail.
            writeln!(table, "{name:<10} {text}").ok();
        }
        table.truncate(table.trim_end().len());
        table
    }

    fn verified(&self) -> String {
        let Tally { sent, answered, delivered, unsent, .. } = self.checks;
        let mut text = format!("{sent} sent, {answered} answered");
        if delivered > 0 {
            write!(text, ", {delivered} delivered").ok();
        }
        if unsent > 0 {
            write!(text, ", {unsent} due and not sent").ok();
        }
        text.push_str(if self.checks.is_clean() { ": all well" } else { ": not all well" });
        text
    }
}

/// How much of what was due was sent.
fn kept(checks: &Tally) -> f64 {
    let due = checks.sent + checks.unsent;
    if due == 0 { 1.0 } else { checks.sent as f64 / due as f64 }
}

impl Settings {
    /// What is counted.
    fn unit(&self) -> &'static str {
        match self.scenario {
            "fanout" => "deliveries",
            "churn" => "logins",
            _ => "requests",
        }
    }

    fn in_words(&self) -> String {
        let mut text = format!("{} at {}, {} connections", self.scenario, self.url, self.connections);
        let mut add =
            |part: Option<String>| part.into_iter().for_each(|part| text.push_str(&format!(", {part}")));
        add(self.command.clone());
        add(self.publishers.map(|publishers| format!("{publishers} publishers")));
        add(self.mode.map(|mode| format!("mode {mode}")));
        add(self.depth.map(|depth| format!("depth {depth}")));
        add(self.payload_bytes.map(|bytes| format!("{bytes} bytes")));
        add(self.rate.map(|rate| format!("{rate} a second")));
        text
    }
}

impl Latency {
    fn of(latencies: &Histogram<u64>) -> Option<Self> {
        if latencies.is_empty() {
            return None;
        }
        let at = |quantile: f64| latencies.value_at_quantile(quantile) as f64 / 1e3;
        Some(Self {
            count: latencies.len(),
            mean: latencies.mean() / 1e3,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            max: latencies.max() as f64 / 1e3,
        })
    }

    fn in_words(&self) -> String {
        let Self { p50, p90, p99, p99_9, max, .. } = self;
        format!("p50 {p50:.0} µs, p90 {p90:.0} µs, p99 {p99:.0} µs, p99.9 {p99_9:.0} µs, max {max:.0} µs")
    }
}

impl Client {
    fn new(usage: &Usage, seconds: f64) -> Self {
        let cpu_seconds = usage.own_cpu.as_secs_f64();
        Self { cpu_seconds, cores_used: cpu_seconds / seconds }
    }
}

impl Broker {
    fn new(usage: &Usage, seconds: f64, completed: u64, settings: &Settings) -> Option<Self> {
        let cpu_seconds = usage.broker_cpu?.as_secs_f64();
        let grown = usage.memory.zip(usage.memory_before).map(|(now, before)| now as f64 - before as f64);
        Some(Self {
            cpu_seconds,
            cores_used: cpu_seconds / seconds,
            per_cpu_second: (cpu_seconds > 0.0).then(|| completed as f64 / cpu_seconds),
            resident_bytes: usage.memory,
            resident_bytes_per_session: grown
                .filter(|_| settings.scenario == "idle")
                .map(|bytes| bytes / settings.connections as f64),
        })
    }

    fn in_words(&self, unit: &str) -> String {
        let mut text = format!("{:.2} s of CPU time", self.cpu_seconds);
        if let Some(rate) = self.per_cpu_second.filter(|rate| *rate > 0.0) {
            write!(text, ", {rate:.0} {unit} per CPU-second").ok();
        }
        if let Some(bytes) = self.resident_bytes {
            write!(text, ", {:.1} MiB resident", bytes as f64 / f64::from(1 << 20)).ok();
        }
        if let Some(bytes) = self.resident_bytes_per_session {
            write!(text, ", {:.2} KiB for each session", bytes / 1024.0).ok();
        }
        text
    }
}
