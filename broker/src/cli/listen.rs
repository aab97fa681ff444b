//! `jackfield listen`: events, one per line, until stopped.

use std::{
    fmt,
    io::{self, BufWriter, Write},
    process::ExitCode,
    str::FromStr,
    time::Duration,
};

use clap::Args;
use jackfield_client::{Client, ConnectionState, Event, States, Subscription};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::{
    call::one_line,
    connect::{ConnectArgs, Failure, exit_code, levels, tell, written},
};

/// How many lines wait for a stdout that is slower than the events.
const LINES: usize = 1024;
/// How long a stdout that takes nothing is waited for at the end.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Subscribes to events and prints them, one per line, until stopped.
#[derive(Debug, Args)]
pub(crate) struct ListenArgs {
    /// Which events; a level that is left out, or "*", is every value
    #[arg(value_name = "CLASS[/SUBCLASS[/TYPE[/OBJ_ID]]]")]
    events: EventPath,
    /// Print each event as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Runs the command: exit status 0 when it was stopped, 1 when the broker is lost for good, 2 for wrong
/// usage.
pub(crate) async fn run(args: ListenArgs) -> ExitCode {
    exit_code(listen(&args).await)
}

async fn listen(args: &ListenArgs) -> Result<(), Failure> {
    let mut stop = Stop::new()?;
    let client = tokio::select! {
        client = Client::connect(args.connect.options()?) => client?,
        () = stop.asked() => return Ok(()),
    };
    let (lines, printed) = start_printer();
    let outcome = tokio::select! {
        outcome = relay(&client, args, &lines) => outcome,
        () = stop.asked() => Ok(()),
    };
    client.close().await;
    drop(lines);
    // A stdout that is stuck must not keep the command from ending.
    match timeout(LAST_LINES, printed).await {
        Ok(Ok(printing)) => outcome.and(written(printing)),
        _ => outcome,
    }
}

/// Hands events to the printer until one of the two ends. Changes of the connection go to stderr.
async fn relay(client: &Client, args: &ListenArgs, lines: &mpsc::Sender<String>) -> Result<(), Failure> {
    let Some(mut events) = client.events() else { return Ok(()) };
    let mut states = client.states();
    client.subscribe(args.events.subscription()).await?;
    let session = client.session_id().map(|id| id.to_string()).unwrap_or_default();
    tell(&format!("listening for {} at {}, session {session}", args.events, client.url()));
    let tell_states = tell_states(&mut states);
    tokio::pin!(tell_states);
    let print = async {
        while let Some(event) = events.next().await {
            let line = if args.json { json_line(&event) } else { text_line(&event) };
            // The printer has gone: its own outcome says why.
            if lines.send(line).await.is_err() {
                return;
            }
        }
    };
    tokio::pin!(print);
    tokio::select! {
        // What was received before the end is printed first: the events end after that.
        () = &mut print => {}
        () = lines.closed() => return Ok(()),
        never = &mut tell_states => match never {},
    }
    match client.state() {
        ConnectionState::GaveUp { reason } => Err(Failure::run_time(format!("gave up: {reason}"))),
        _ => Ok(()),
    }
}

async fn tell_states(states: &mut States) -> std::convert::Infallible {
    while let Some(state) = states.next().await {
        match state {
            ConnectionState::Disconnected { reason } => tell(&format!("connection lost: {reason}")),
            ConnectionState::Reconnecting { attempt, delay } => {
                tell(&format!("reconnecting in {:.1} s (attempt {attempt})", delay.as_secs_f64()));
            }
            ConnectionState::Connected { session_id, refused } => {
                let session = session_id.map(|id| id.to_string()).unwrap_or_default();
                tell(&format!("connected again, session {session}"));
                for refused in refused {
                    tell(&format!("the broker refused to renew the subscription: {}", refused.error));
                }
            }
            _ => {}
        }
    }
    std::future::pending().await
}

/// Prints lines in a thread of its own, where a slow stdout stops nothing else. A full channel holds the
/// events back, and the client's own rules for slow applications apply.
fn start_printer() -> (mpsc::Sender<String>, oneshot::Receiver<io::Result<()>>) {
    let (sender, lines) = mpsc::channel(LINES);
    let (done, printed) = oneshot::channel();
    std::thread::spawn(move || {
        // Nobody waits any more when the command has already ended.
        done.send(print(lines)).ok();
    });
    (sender, printed)
}

fn print(mut lines: mpsc::Receiver<String>) -> io::Result<()> {
    let mut stdout = BufWriter::new(io::stdout().lock());
    while let Some(line) = lines.blocking_recv() {
        writeln!(stdout, "{line}")?;
        if lines.is_empty() {
            stdout.flush()?;
        }
    }
    stdout.flush()
}

fn json_line(event: &Event) -> String {
    // Writing strings and JSON text to a string cannot fail.
    one_line(&serde_json::to_string(event).unwrap_or_default())
}

/// `CLASS/SUBCLASS/TYPE/OBJ_ID BODY`, `*` for what the event leaves out.
fn text_line(event: &Event) -> String {
    let level = |level: &Option<String>| level.as_deref().map_or_else(|| "*".to_owned(), printable);
    let Event { class, subclass, event_type, obj_id, body, .. } = event;
    let path = [printable(class), level(subclass), level(event_type), level(obj_id)].join("/");
    format!("{path} {}", one_line(body.get()))
}

/// Text that cannot break the line or drive the terminal.
fn printable(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, character| {
        if character.is_control() {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
        out
    })
}

/// SIGINT and SIGTERM.
struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    fn new() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|error| Failure::run_time(format!("cannot wait for signals: {error}")))
        };
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Which events to listen for.
#[derive(Debug, Clone)]
struct EventPath {
    class: String,
    rest: Vec<String>,
}

impl EventPath {
    fn subscription(&self) -> Subscription {
        let fields = [Subscription::subclass, Subscription::event_type, Subscription::obj_id];
        self.rest.iter().zip(fields).fold(Subscription::to(&self.class), |subscription, (value, set)| {
            set(subscription, value.clone())
        })
    }
}

impl fmt::Display for EventPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.class)?;
        (0..3).try_for_each(|level| write!(f, "/{}", self.rest.get(level).map_or("*", String::as_str)))
    }
}

impl FromStr for EventPath {
    type Err = String;

    /// A `/` after the third one is part of the object's id.
    fn from_str(path: &str) -> Result<Self, String> {
        let mut levels = levels(path, 4)
            .map_err(|error| format!("{error}; expected CLASS[/SUBCLASS[/TYPE[/OBJ_ID]]]"))?
            .into_iter()
            .map(str::to_owned);
        Ok(Self { class: levels.next().unwrap_or_default(), rest: levels.collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> EventPath {
        text.parse().unwrap()
    }

    #[test]
    fn levels_become_a_subscription() {
        assert_eq!(path("media").subscription(), Subscription::to("media"));
        let all = Subscription::to("media").subclass("session").event_type("created").obj_id("a/b");
        assert_eq!(path("media/session/created/a/b").subscription(), all);
        assert_eq!(path("media/session").to_string(), "media/session/*/*");
        for text in ["", "/", "media/", "media//x"] {
            assert!(text.parse::<EventPath>().is_err(), "{text}");
        }
    }

    #[test]
    fn text_cannot_break_the_line() {
        assert_eq!(printable("a\nb\u{1b}[2Jé"), "a\\nb\\u{1b}[2Jé");
    }
}
