//! The same work for Jackfield, other brokers and a bare echo server. `benches/peers/run` starts them, and this.

mod dialect;
mod echo_server;
mod framing;
mod link;
mod outcome;
mod payload;
mod process;
mod run;
mod system;
mod work;

use std::{
    fs::OpenOptions,
    io::{self, Write},
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::{Args, Parser, Subcommand};

use crate::{
    link::Target,
    outcome::Outcome,
    process::Process,
    run::Plan,
    system::System,
    work::{Setting, Shape, Work},
};

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
    #[arg(long, default_value_t = 1)]
    round: u32,
    /// Seconds that are measured
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Seconds before
    #[arg(long, default_value_t = 1.0)]
    warmup: f64,
    /// Where the result's line goes
    #[arg(long)]
    results: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Echo { web_socket, lines } => echo_server::serve(web_socket, lines).await,
        Command::FreePorts { count } => free_ports(count).and_then(|ports| say(&ports)),
        Command::Await { address } => listening(address).await,
        Command::Measure(arguments) => measure(arguments).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            writeln!(io::stderr(), "jackfield-peers: {problem}").ok();
            ExitCode::FAILURE
        }
    }
}

fn say(text: &str) -> Result<(), String> {
    writeln!(io::stdout(), "{text}").map_err(|error| error.to_string())
}

/// All are held until the last is known, so that none is given twice.
fn free_ports(count: usize) -> Result<String, String> {
    let bound = |_| TcpListener::bind("127.0.0.1:0").and_then(|held| Ok((held.local_addr()?.port(), held)));
    let held = (0..count).map(bound).collect::<io::Result<Vec<_>>>().map_err(|error| error.to_string())?;
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
    let MeasureArgs { work, shape, system, round, .. } = arguments;
    let setting = Setting {
        target: Target { system, address: arguments.address },
        server: Process::new(arguments.pid),
        shape,
        plan: Plan {
            warmup: Duration::from_secs_f64(arguments.warmup),
            measure: Duration::from_secs_f64(arguments.seconds),
        },
    };
    let metrics = work.measure(&setting).await?;
    let (work, shape, system) = (work.name(), shape.to_string(), system.name());
    let line = serde_json::to_string(&Outcome { round, work, shape, system, metrics });
    let line = line.map_err(|error| error.to_string())?;
    let appended = OpenOptions::new().append(true).create(true).open(&arguments.results);
    appended.and_then(|mut file| writeln!(file, "{line}")).map_err(|error| error.to_string())?;
    say(&line)
}
