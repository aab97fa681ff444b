//! The same work for Jackfield, other brokers and a bare echo server. `benches/peers/run` starts them, and this.

mod dialect;
mod echo_server;
mod framing;
mod link;
mod outcome;
mod pace;
mod payload;
mod process;
mod report;
mod run;
mod system;
mod work;

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::{Args, Parser, Subcommand};

use crate::{
    link::Target,
    outcome::{Metrics, Outcome},
    process::Process,
    report::Figures,
    run::Plan,
    system::System,
    work::{Setting, Shape, Started, Work, start},
};

/// How long what is in flight may take to arrive.
const DRAIN: Duration = Duration::from_secs(20);

#[derive(Debug, Parser)]
#[command(about = "What `benches/peers/run` calls")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The floor: serves WebSocket messages at the first address, lines at the second
    Echo { web_socket: SocketAddr, lines: SocketAddr },
    /// Prints ports that are free
    FreePorts { count: usize },
    /// Waits until something listens
    Await { address: SocketAddr },
    /// Does one work for one system
    Measure(MeasureArgs),
    /// Prints the tables of these results
    Report { results: PathBuf },
    /// Starts Jackfield often, at this address
    Start {
        program: PathBuf,
        address: SocketAddr,
        #[command(flatten)]
        place: PlaceArgs,
    },
}

#[derive(Debug, Args)]
struct MeasureArgs {
    #[arg(long)]
    work: Work,
    #[arg(long)]
    shape: Shape,
    #[arg(long)]
    system: System,
    #[arg(long)]
    address: SocketAddr,
    /// The server's process
    #[arg(long)]
    pid: u32,
    /// Seconds that are measured
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Seconds before
    #[arg(long, default_value_t = 1.0)]
    warmup: f64,
    #[command(flatten)]
    place: PlaceArgs,
}

/// Where the result goes.
#[derive(Debug, Args)]
struct PlaceArgs {
    #[arg(long, default_value_t = 1)]
    round: u32,
    /// The file that gets a line
    #[arg(long)]
    results: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Echo { web_socket, lines } => echo_server::listen(web_socket, lines).await,
        Command::FreePorts { count } => free_ports(count).and_then(|ports| say(&ports)),
        Command::Await { address } => listening(address).await,
        Command::Measure(arguments) => measure(arguments).await,
        Command::Report { results } => report(&results),
        Command::Start { program, address, place } => start(&Started { program: &program, address })
            .and_then(|metrics| keep(&place, ["start", "20", "jackfield"].map(String::from), metrics)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            writeln!(io::stderr(), "jackfield-peers: {problem}").ok();
            ExitCode::FAILURE
        }
    }
}

fn report(results: &Path) -> Result<(), String> {
    let lines = fs::read_to_string(results).map_err(|error| format!("{}: {error}", results.display()))?;
    say(report::tables(&Figures::read(&lines)?).trim_end())
}

fn say(text: &str) -> Result<(), String> {
    writeln!(io::stdout(), "{text}").map_err(|error| error.to_string())
}

/// Below those that clients get, and free at every address. All are held until the last is known.
fn free_ports(count: usize) -> Result<String, String> {
    let first = u16::try_from(std::process::id() % 10_000).unwrap_or_default() + 15_000;
    let free = (first..32_000).filter_map(|port| Some((port, TcpListener::bind(("0.0.0.0", port)).ok()?)));
    let held: Vec<_> = free.take(count).collect();
    if held.len() < count {
        return Err("no free ports".into());
    }
    Ok(held.iter().map(|(port, _)| port.to_string()).collect::<Vec<_>>().join(" "))
}

async fn listening(address: SocketAddr) -> Result<(), String> {
    for _ in 0..1000 {
        if tokio::net::TcpStream::connect(address).await.is_ok() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Err(format!("nothing listens at {address}"))
}

async fn measure(arguments: MeasureArgs) -> Result<(), String> {
    let MeasureArgs { work, shape, system, place, .. } = arguments;
    let setting = Setting {
        target: Target { system, address: arguments.address, unread: None },
        server: Process::new(arguments.pid),
        shape,
        plan: Plan {
            warmup: Duration::from_secs_f64(arguments.warmup),
            measure: Duration::from_secs_f64(arguments.seconds),
            drain: DRAIN,
        },
    };
    let problem = |problem| format!("{} {shape} {}: {problem}", work.name(), system.name());
    let metrics = work.measure(&setting).await.map_err(problem)?;
    keep(&place, [work.name(), shape.to_string(), system.name()], metrics)
}

fn keep(place: &PlaceArgs, names: [String; 3], metrics: Metrics) -> Result<(), String> {
    let [work, shape, system] = names;
    let line = serde_json::to_string(&Outcome { round: place.round, work, shape, system, metrics });
    let line = line.map_err(|error| error.to_string())?;
    let appended = OpenOptions::new().append(true).create(true).open(&place.results);
    appended.and_then(|mut file| writeln!(file, "{line}")).map_err(|error| error.to_string())?;
    say(&line)
}
