//! The tables of RESULTS.md.

mod figures;
mod targets;

use std::fmt::Write;

pub(crate) use self::figures::Figures;
use self::targets::{TARGETS, value};

/// A work's section.
struct Section {
    work: &'static str,
    about: &'static str,
    /// The metrics that are shown, with their headings.
    metrics: &'static [(&'static str, &'static str)],
}

const LOAD: &[(&str, &str)] =
    &[("per_cpu_second", "per CPU-second"), ("per_second", "per second"), ("cpu_share", "CPUs used")];

const SECTIONS: &[Section] = &[
    Section {
        work: "rpc",
        about: "Requests that the server answers. The echo servers send back what Jackfield gets as `core`/`core`/`ping`.",
        metrics: LOAD,
    },
    Section {
        work: "request-reply",
        about: "Round trips between clients. 16x8 is 16 that ask, each another client, with 8 in flight; with `-all` it is 8 that ask 8. The targets are of the former.",
        metrics: LOAD,
    },
    Section {
        work: "fan-out",
        about: "Deliveries to 100 and 1,000 subscribers, with 1 or 64 events in flight.",
        metrics: LOAD,
    },
    Section {
        work: "latency",
        about: "From when an event was due until a subscriber has it: 500 events a second to 1, 50 to each of 100.",
        metrics: &[("p50_us", "p50"), ("p99_us", "p99"), ("p999_us", "p99.9"), ("cpu_share", "CPUs used")],
    },
    Section { work: "logins", about: "Connect, log in, close, by 16 at a time.", metrics: LOAD },
    Section {
        work: "idle",
        about: "Resident memory a connection, of 10,000: logged in; and after each subscribed and got an event.",
        metrics: &[
            ("idle_kib", "each, idle"),
            ("used_kib", "each, after an event"),
            ("empty_mib", "server without any"),
        ],
    },
    Section {
        work: "tail",
        about: "`rpc` at half of the rate that saturates, from when it was due.",
        metrics: &[
            ("p50_us", "p50"),
            ("p99_us", "p99"),
            ("p999_us", "p99.9"),
            ("p999_over_p50", "p99.9 / p50"),
        ],
    },
    Section {
        work: "overload",
        about: "Clients offer twice the rate that saturates. Every request is answered, or the run fails.",
        metrics: &[
            ("of_peak", "throughput of the peak"),
            ("before_mib", "memory before"),
            ("most_mib", "most memory"),
            ("most_unread_mib", "most, answers unread"),
        ],
    },
    Section {
        work: "start",
        about: "20 starts.",
        metrics: &[("listening_ms", "until it listens"), ("binary_mb", "binary")],
    },
];

/// The tables, as Markdown.
pub(crate) fn tables(figures: &Figures) -> String {
    let mut text = targets(figures);
    for Section { work, about, metrics } in SECTIONS {
        let names = figures.names(Some(work));
        if !names.is_empty() {
            text += &format!("\n## {work}\n\n{about}\n\n");
            text += &table(figures, &names, metrics);
        }
    }
    text
}

fn targets(figures: &Figures) -> String {
    let mut text = String::from(
        "## Targets\n\n| work | Jackfield | peer | ratio | target | met |\n|---|---|---|---|---|---|\n",
    );
    for target in TARGETS {
        if let Some(line) = target.line(figures) {
            let [ours, theirs, ratio] = [line.ours, line.theirs, line.ratio];
            // Writing to a string cannot fail.
            writeln!(
                text,
                "| {} | {ours} | {theirs} | {ratio} | {} | {} |",
                target.what, line.target, line.met
            )
            .ok();
        }
    }
    text
}

fn table(figures: &Figures, names: &[[&str; 3]], metrics: &[(&str, &str)]) -> String {
    let headings: String = metrics.iter().map(|(_, heading)| format!(" {heading} |")).collect();
    let mut text = format!("| shape | system |{headings}\n|---|---|{}\n", "---|".repeat(metrics.len()));
    for name in names {
        let [_, shape, system] = name;
        let cells: String =
            metrics.iter().map(|(metric, _)| format!(" {} |", cell(figures, *name, metric))).collect();
        text += &format!("| {shape} | {system} |{cells}\n");
    }
    text
}

/// The median, and between what and what the rounds were.
fn cell(figures: &Figures, name: [&str; 3], metric: &str) -> String {
    match figures.spread(name, metric) {
        None => "–".into(),
        Some([median, least, most]) if least == most => value(median, metric),
        Some(spread) => {
            let [median, least, most] = spread.map(|figure| value(figure, metric));
            format!("{median} ({least} – {most})")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{figures::tests::figures, *};

    #[test]
    fn tables_hold_what_was_measured_and_nothing_else() {
        let text = tables(&figures());
        assert!(text.contains(
            "| fan-out to 100, one at a time, push | 0.3 k | nats-ws 0.1 k | 2.80 | ≥ 1.6 | yes |"
        ));
        assert!(text.contains("| 100x1 | jackfield-ws | 0.3 k (0.1 k – 0.3 k) | – | – |"), "{text}");
        assert!(!text.contains("## rpc") && !text.contains("login and close"));
    }

    #[test]
    fn every_work_has_a_table() {
        use clap::ValueEnum;
        for work in crate::work::Work::value_variants() {
            assert!(SECTIONS.iter().any(|section| section.work == work.name()), "{}", work.name());
        }
    }
}
