//! `jackfield run`.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info, warn};

use super::output::{config_errors, fail, start_error, usage_error};
use super::ready_file::ReadyFile;
use super::sources::SourceArgs;
use crate::broker::{Addresses, Broker, StartError};
use crate::config::Config;
use crate::session::pace;
use crate::telemetry::logging::{self, LogFormat};

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    sources: SourceArgs,
    /// Writes the process id and the bound addresses here, as JSON, once all accept; removed at exit
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
    /// How log lines look
    #[arg(long, value_enum, default_value_t)]
    log_format: LogFormat,
}

/// Why a broker ended other than by a first signal.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("cannot write the ready file {}: {error}", path.display())]
    ReadyFile { path: PathBuf, error: io::Error },
    #[error("cannot wait for signals: {0}")]
    Signals(io::Error),
    #[error("stopped by a second signal, before everything was written out")]
    Forced,
}

pub(super) fn run(args: &RunArgs) -> ExitCode {
    let config = match args.sources.load() {
        Ok(config) => config,
        Err(errors) => return config_errors(&errors),
    };
    if let Err(error) = logging::init(args.log_format) {
        return usage_error(error);
    }
    raise_file_limit();
    let mut runtime = runtime::Builder::new_multi_thread();
    let runtime = match runtime.enable_all().on_thread_park(pace::rested).build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(format_args!("cannot start the runtime: {error}")),
    };
    let outcome = runtime.block_on(serve(args, config));
    // What is still running has had its time: waiting for it could take for ever.
    runtime.shutdown_background();
    logging::finish();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(RunError::Start(error)) => start_error(&error),
        Err(error) => fail(error),
    }
}

/// Each connection is an open file: takes as many as the machine lets it have.
pub(super) fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        warn!(%error, "cannot raise the number of open files");
    }
}

/// Runs a broker until a signal stops it.
async fn serve(args: &RunArgs, config: Config) -> Result<(), RunError> {
    // Before anything listens, so that no signal meets its default.
    let mut signals = Signals::new().map_err(RunError::Signals)?;
    let broker = tokio::select! {
        broker = Broker::start(config) => broker?,
        // A plugin may take for ever to register.
        () = signals.stop() => return Ok(()),
    };
    log_addresses(broker.addresses());
    let ready_file = args.ready_file.as_deref().map(|path| ready(path, broker.addresses())).transpose();
    let ready_file = match ready_file {
        Ok(ready_file) => ready_file,
        Err(error) => {
            broker.shutdown().await;
            return Err(error);
        }
    };
    while let Action::Reload = signals.next().await {
        tokio::select! {
            () = signals.stop() => break,
            () = reload(&broker, &args.sources) => {}
        }
    }
    info!("stopping");
    let outcome = tokio::select! {
        () = broker.shutdown() => Ok(()),
        () = signals.stop() => Err(RunError::Forced),
    };
    drop(ready_file);
    outcome
}

fn ready(path: &Path, addresses: &Addresses) -> Result<ReadyFile, RunError> {
    ReadyFile::write(path, addresses).map_err(|error| RunError::ReadyFile { path: path.to_owned(), error })
}

fn log_addresses(addresses: &Addresses) {
    for (service, urls) in &addresses.services {
        for url in urls {
            info!(service, url, "listening");
        }
    }
    if let Some(url) = &addresses.admin {
        info!(url, "serving metrics and health");
    }
}

/// Reads the configuration again. What is wrong is logged, and nothing changes then.
async fn reload(broker: &Broker, sources: &SourceArgs) {
    let config = match sources.load() {
        Ok(config) => config,
        Err(errors) => {
            for problem in &errors {
                error!(%problem, "the configuration is bad; nothing was changed");
            }
            return;
        }
    };
    match broker.reload(config).await {
        Ok(notes) => {
            for note in notes {
                warn!(note, "a part of the configuration waits for a restart");
            }
            info!("the configuration was reloaded");
        }
        Err(problem) => error!(%problem, "the configuration is bad; nothing was changed"),
    }
}

/// What a signal asks for.
enum Action {
    Reload,
    Stop,
}

/// The signals that a broker answers.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Action {
        tokio::select! {
            _ = self.terminate.recv() => Action::Stop,
            _ = self.interrupt.recv() => Action::Stop,
            _ = self.hang_up.recv() => Action::Reload,
        }
    }

    /// Waits for one that asks to stop; one that asks for a reload is kept for `next`.
    async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
