//! What Jackfield is held to.

use super::figures::{Figure, Figures};

/// A bound on a figure, or on its ratio to a peer's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    pub(crate) what: &'static str,
    ours: Figure,
    theirs: Option<Figure>,
    bound: Bound,
}

#[derive(Debug, Clone, Copy)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

/// A target's line in the report.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) ours: String,
    pub(crate) theirs: String,
    pub(crate) ratio: String,
    pub(crate) target: String,
    pub(crate) met: &'static str,
}

impl Target {
    /// Held against what was measured; `None` where that is missing.
    pub(crate) fn line(&self, figures: &Figures) -> Option<Line> {
        let ours = figures.median(&self.ours)?;
        let theirs = self.theirs.and_then(|theirs| Some((theirs, figures.median(&theirs)?)));
        let ratio = self.theirs.and_then(|theirs| figures.ratio(&self.ours, &theirs));
        let held = if self.theirs.is_some() { ratio? } else { ours };
        let (target, met) = match self.bound {
            Bound::AtLeast(bound) => (format!("≥ {bound}"), held >= bound),
            Bound::AtMost(bound) => (format!("≤ {bound}"), held <= bound),
        };
        Some(Line {
            ours: value(ours, self.ours.metric),
            theirs: theirs.map_or_else(
                || "–".into(),
                |(figure, median)| format!("{} {}", figure.system, value(median, figure.metric)),
            ),
            ratio: ratio.map_or_else(|| "–".into(), |ratio| format!("{ratio:.2}")),
            target,
            met: if met { "yes" } else { "**no**" },
        })
    }
}

/// A figure with its unit.
pub(crate) fn value(value: f64, metric: &str) -> String {
    match metric {
        "per_cpu_second" | "per_second" => thousands(value),
        _ if metric.ends_with("_us") => format!("{value:.0} µs"),
        _ if metric.ends_with("_kib") => format!("{value:.1} KiB"),
        _ if metric.ends_with("_mib") => format!("{value:.1} MiB"),
        _ if metric.ends_with("_ms") => format!("{value:.1} ms"),
        _ if metric.ends_with("_mb") => format!("{value:.1} MB"),
        _ => format!("{value:.2}"),
    }
}

fn thousands(value: f64) -> String {
    let digits = if value < 100_000.0 { 1 } else { 0 };
    format!("{:.digits$} k", value / 1000.0)
}

const fn figure(
    work: &'static str,
    shape: &'static str,
    system: &'static str,
    metric: &'static str,
) -> Figure {
    Figure { work, shape, system, metric }
}

/// Work per CPU-second, beside a peer's.
const fn beside(
    what: &'static str,
    work: &'static str,
    shape: &'static str,
    [ours, theirs]: [&'static str; 2],
    at_least: f64,
) -> Target {
    let metric = "per_cpu_second";
    Target {
        what,
        ours: figure(work, shape, ours, metric),
        theirs: Some(figure(work, shape, theirs, metric)),
        bound: Bound::AtLeast(at_least),
    }
}

/// A latency that is not above mosquitto's.
const fn latency(
    what: &'static str,
    shape: &'static str,
    ours: &'static str,
    metric: &'static str,
) -> Target {
    Target {
        what,
        ours: figure("latency", shape, ours, metric),
        theirs: Some(figure("latency", shape, "mosquitto-ws", metric)),
        bound: Bound::AtMost(1.0),
    }
}

/// A figure that is to be small by itself.
const fn at_most(what: &'static str, ours: Figure, bound: f64) -> Target {
    Target { what, ours, theirs: None, bound: Bound::AtMost(bound) }
}

const WS: &str = "jackfield-ws";
const ACK: &str = "jackfield-ws-ack";
const TCP: &str = "jackfield-tcp";
const NATS: &str = "nats-ws";

/// All, in the order of the report.
pub(crate) const TARGETS: &[Target] = &[
    beside("`rpc`, 16×8", "rpc", "16x8", [WS, "echo-ws"], 0.6),
    beside("`rpc`, 64×1", "rpc", "64x1", [WS, "echo-ws"], 0.9),
    beside("request and reply between clients, 16×8", "request-reply", "16x8", [WS, NATS], 2.0),
    beside("request and reply between clients, 64×1", "request-reply", "64x1", [WS, NATS], 2.0),
    beside("fan-out to 100, one at a time, push", "fan-out", "100x1", [WS, NATS], 1.6),
    beside("fan-out to 100, one at a time, ack", "fan-out", "100x1", [ACK, NATS], 1.2),
    beside("fan-out to 100, saturated, push", "fan-out", "100x64", [WS, NATS], 1.5),
    beside("fan-out to 100, saturated, ack", "fan-out", "100x64", [ACK, NATS], 0.7),
    beside("fan-out to 1,000, saturated, push", "fan-out", "1000x64", [WS, NATS], 1.5),
    beside("fan-out to 1,000, saturated, ack", "fan-out", "1000x64", [ACK, NATS], 0.7),
    latency("latency, 1 subscriber, push, p50", "1x500", WS, "p50_us"),
    latency("latency, 1 subscriber, push, p99", "1x500", WS, "p99_us"),
    latency("latency, 1 subscriber, ack, p50", "1x500", ACK, "p50_us"),
    latency("latency, 1 subscriber, ack, p99", "1x500", ACK, "p99_us"),
    latency("latency, 100 subscribers, push, p50", "100x50", WS, "p50_us"),
    latency("latency, 100 subscribers, push, p99", "100x50", WS, "p99_us"),
    latency("latency, 100 subscribers, ack, p50", "100x50", ACK, "p50_us"),
    latency("latency, 100 subscribers, ack, p99", "100x50", ACK, "p99_us"),
    beside("login and close", "logins", "16x1", [WS, NATS], 2.5),
    at_most("idle and logged in, WebSocket", figure("idle", "10000x1", WS, "idle_kib"), 5.0),
    at_most("idle and logged in, TCP", figure("idle", "10000x1", TCP, "idle_kib"), 3.0),
    at_most("the empty broker", figure("idle", "10000x1", WS, "empty_mib"), 8.0),
    at_most("tail: p99.9 over p50, 16×8", figure("tail", "16x8", WS, "p999_over_p50"), 5.0),
    at_most("tail: p99.9 over p50, 64×1", figure("tail", "64x1", WS, "p999_over_p50"), 5.0),
    at_most("start to listening", figure("start", "20", "jackfield", "listening_ms"), 50.0),
    at_most("size of the binary", figure("start", "20", "jackfield", "binary_mb"), 25.0),
    Target {
        what: "overload: throughput of the peak",
        ours: figure("overload", "16x256", WS, "of_peak"),
        theirs: None,
        bound: Bound::AtLeast(0.9),
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::figures::tests::{figure, figures};

    #[test]
    fn targets_are_held_against_ratios() {
        let target =
            |bound| Target { what: "", ours: figure("jackfield-ws"), theirs: Some(figure("nats-ws")), bound };
        let line = target(Bound::AtLeast(2.5)).line(&figures()).unwrap();
        let expected = Line {
            ours: "0.3 k".into(),
            theirs: "nats-ws 0.1 k".into(),
            ratio: "2.80".into(),
            target: "≥ 2.5".into(),
            met: "yes",
        };
        assert_eq!(line, expected);
        assert_eq!(target(Bound::AtMost(2.5)).line(&figures()).unwrap().met, "**no**");
        assert_eq!(at_most("", figure("redis-tcp"), 1.0).line(&figures()), None);
    }

    #[test]
    fn figures_have_units() {
        assert_eq!(value(1_234_567.0, "per_cpu_second"), "1235 k");
        assert_eq!(value(9_200.0, "per_second"), "9.2 k");
        assert_eq!(value(12.34, "idle_kib"), "12.3 KiB");
        assert_eq!(value(0.914, "of_peak"), "0.91");
    }
}
