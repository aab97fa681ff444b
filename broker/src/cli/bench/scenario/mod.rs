//! The kinds of load, a file each.

mod churn;
mod cmd;
mod fanout;
mod idle;
mod rpc;

use std::time::Duration;

use clap::{Args, Subcommand};

use super::{
    payload::SHORTEST,
    report::Settings,
    site::{Crew, Site},
    usage::Pid,
};
use crate::cli::connect::{ConnectArgs, Failure, parse_duration};

/// The kinds of load.
#[derive(Debug, Subcommand)]
pub(super) enum Scenario {
    /// Requests that the broker itself answers, `core/core/ping` for one.
    Rpc(rpc::RpcArgs),
    /// Commands from session to session and back, with `core session cmd`. Half of the connections are targets.
    Cmd(cmd::CmdArgs),
    /// Events from publishers to subscribers; every connection is a subscriber.
    Fanout(fanout::FanoutArgs),
    /// Sessions that do nothing. With --pid, what memory each takes.
    Idle(idle::IdleArgs),
    /// Connect, log in, close, and again.
    Churn(churn::ChurnArgs),
}

impl Scenario {
    pub(super) fn common(&self) -> &CommonArgs {
        match self {
            Self::Rpc(args) => &args.common,
            Self::Cmd(args) => &args.common,
            Self::Fanout(args) => &args.common,
            Self::Idle(args) => &args.common,
            Self::Churn(args) => &args.common,
        }
    }

    /// What wrong usage the parser could not see.
    pub(super) fn check(&self) -> Result<(), Failure> {
        match self {
            Self::Rpc(args) => args.body(0).map(drop),
            Self::Cmd(args) => args.check(),
            Self::Fanout(_) | Self::Idle(_) | Self::Churn(_) => Ok(()),
        }
    }

    /// What the results are about.
    pub(super) fn settings(&self) -> Settings {
        let settings = self.common().settings();
        match self {
            Self::Rpc(args) => args.settings(settings),
            Self::Cmd(args) => args.settings(settings),
            Self::Fanout(args) => args.settings(settings),
            Self::Idle(_) => Settings { scenario: "idle", ..settings },
            Self::Churn(args) => args.settings(settings),
        }
    }

    /// Everyone logged in and ready.
    pub(super) async fn crew(&self, site: &Site) -> Result<Crew, Failure> {
        match self {
            Self::Rpc(args) => args.crew(site).await,
            Self::Cmd(args) => args.crew(site).await,
            Self::Fanout(args) => args.crew(site).await,
            Self::Idle(args) => args.crew(site).await,
            Self::Churn(args) => Ok(args.crew(site)),
        }
    }
}

/// What all scenarios have.
#[derive(Debug, Args)]
pub(super) struct CommonArgs {
    /// How many connections
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = count)]
    pub(super) connections: usize,
    /// For how long to measure: 10s, 2m, 500ms
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = positive_duration)]
    pub(super) duration: Duration,
    /// How long the load goes on before anything is measured
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_duration)]
    pub(super) warmup: Duration,
    /// The broker's process, where it is on this machine: tells its CPU time and memory
    #[arg(long, value_name = "PID")]
    pub(super) pid: Option<Pid>,
    /// How many threads make the load [default: one for each core]
    #[arg(long, value_name = "N", value_parser = count)]
    pub(super) threads: Option<usize>,
    /// Print one JSON object in place of the table
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) connect: ConnectArgs,
}

impl CommonArgs {
    fn settings(&self) -> Settings {
        Settings {
            url: self.connect.url().to_owned(),
            connections: self.connections,
            duration_seconds: self.duration.as_secs_f64(),
            warmup_seconds: self.warmup.as_secs_f64(),
            threads: self.threads(),
            ..Settings::default()
        }
    }

    /// How many threads make the load.
    pub(super) fn threads(&self) -> usize {
        self.threads.unwrap_or_else(cores)
    }
}

/// The cores of this machine that this process may use.
pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// What those that send messages have.
#[derive(Debug, Args)]
struct LoadArgs {
    /// How many may be unanswered at a time, for each connection that sends
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = count)]
    depth: usize,
    /// Bytes of data in each message, at least 88 [default: 200]
    #[arg(long, value_name = "BYTES", value_parser = payload)]
    payload: Option<usize>,
    #[command(flatten)]
    rate: RateArgs,
}

impl LoadArgs {
    fn payload(&self) -> usize {
        self.payload.unwrap_or(200)
    }
}

/// A load that does not wait for answers.
#[derive(Debug, Args)]
struct RateArgs {
    /// How many a second, all connections together; latency counts from when each was to be sent
    #[arg(long, value_name = "N", value_parser = rate)]
    rate: Option<f64>,
}

fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number @ 1..=1_000_000) => Ok(number),
        _ => Err("expected a number from 1 to 1000000".into()),
    }
}

fn payload(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(bytes) if (SHORTEST..=64 << 20).contains(&bytes) => Ok(bytes),
        _ => Err(format!("expected a number from {SHORTEST} to {}", 64 << 20)),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.001..=1e8).contains(&rate) => Ok(rate),
        _ => Err("expected a number from 0.001 to 100000000".into()),
    }
}

fn positive_duration(text: &str) -> Result<Duration, String> {
    match parse_duration(text) {
        Ok(Duration::ZERO) => Err("expected a time longer than nothing".into()),
        read => read.map_err(|error| error.to_string()),
    }
}
