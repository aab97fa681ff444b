//! How long from the start of Jackfield's process until it takes connections.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::outcome::Metrics;

/// How often it is started.
const STARTS: usize = 20;
/// Between two looks whether it listens.
const LOOK: Duration = Duration::from_micros(200);
/// How long a start may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What was started.
#[derive(Debug)]
pub(crate) struct Started<'a> {
    pub(crate) program: &'a Path,
    pub(crate) address: SocketAddr,
}

/// Starts it again and again; the median, and the size of the binary.
pub(crate) fn start(started: &Started<'_>) -> Result<Metrics, String> {
    let mut times = (0..STARTS).map(|_| once(started)).collect::<Result<Vec<_>, _>>()?;
    times.sort_unstable();
    let median = times.get(STARTS / 2).copied().unwrap_or_default();
    let size = fs::metadata(started.program).map_err(|error| error.to_string())?.len();
    Ok(Metrics::default()
        .with("listening_ms", median.as_secs_f64() * 1000.0)
        .with("binary_mb", size as f64 / 1e6))
}

fn once(started: &Started<'_>) -> Result<Duration, String> {
    let mut command = Command::new(started.program);
    let listen = format!("ws://{}", started.address);
    command.args(["run", "--plugin", "auth-open", "--listen", &listen]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let begin = Instant::now();
    let mut child = command.spawn().map_err(|error| format!("cannot start it: {error}"))?;
    while TcpStream::connect(started.address).is_err() && begin.elapsed() < PATIENCE {
        thread::park_timeout(LOOK);
    }
    let took = begin.elapsed();
    child.kill().and_then(|()| child.wait()).map_err(|error| error.to_string())?;
    if took < PATIENCE { Ok(took) } else { Err("it does not listen".into()) }
}
