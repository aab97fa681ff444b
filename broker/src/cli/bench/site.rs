//! Where the load goes, and the connections that make it.

use std::{pin::Pin, sync::Arc, time::Duration};

use futures_util::{StreamExt, TryStreamExt, stream};
use jackfield_client::{ConnectOptions, EventMode, Login};
use serde::Deserialize;

use super::{
    clock::Shared,
    connection::{Broken, Connection, Gate},
    drive::{Ended, Role, Work, drive},
    progress::Progress,
};
use crate::cli::connect::{ConnectArgs, Failure};

/// How many connections are made at a time.
const AT_ONCE: usize = 64;

/// The broker, and who to be there.
#[derive(Clone)]
pub(super) struct Site {
    pub(super) options: ConnectOptions,
    pub(super) login: Login,
    pub(super) timeout: Duration,
    pub(super) shared: Arc<Shared>,
    /// Tells this run's payloads and events from those of others.
    pub(super) run: u64,
}

impl Site {
    pub(super) fn new(connect: &ConnectArgs) -> Result<Self, Failure> {
        let shared = Shared::new().map_err(|error| Failure::run_time(error.to_string()))?;
        Ok(Self {
            options: connect.anonymous_options()?,
            login: connect.login()?,
            timeout: connect.timeout(),
            shared: Arc::new(shared),
            run: uuid::Uuid::new_v4().as_u64_pair().0,
        })
    }

    /// A new connection, logged in.
    pub(super) async fn session(&self, events: EventMode) -> Result<(Connection, SessionName), Broken> {
        let login =
            self.login.clone().events(events).to_message(0).map_err(|error| Broken(error.to_string()))?;
        let mut connection = Connection::open(&self.options).await?;
        let answer = connection.ask(login.as_bytes(), self.timeout).await;
        let answer = answer.map_err(|Broken(reason)| Broken(format!("the login failed: {reason}")))?;
        let name =
            serde_json::from_str(&answer).map_err(|error| Broken(format!("the login's answer: {error}")))?;
        Ok((connection, name))
    }

    /// Many of them.
    pub(super) async fn sessions(
        &self,
        count: usize,
        events: EventMode,
    ) -> Result<Vec<(Connection, SessionName)>, Failure> {
        let progress = Progress::new("logging in", count as u64);
        let opening = stream::iter(0..count).map(async |_| {
            let session = self.session(events).await;
            progress.advance();
            session
        });
        opening.buffer_unordered(AT_ONCE).try_collect().await.map_err(failure)
    }

    /// The task of one connection, to be started with the load.
    pub(super) fn task(
        &self,
        connection: Connection,
        work: Box<dyn Work>,
        role: Role,
        gate: &Arc<Gate>,
    ) -> Task {
        Box::pin(drive(connection, work, role, Arc::clone(gate), Arc::clone(&self.shared)))
    }
}

/// Why there is no load.
pub(super) fn failure(broken: Broken) -> Failure {
    Failure::run_time(broken.0)
}

/// A session's id.
#[derive(Debug, Deserialize)]
pub(super) struct SessionName {
    pub(super) session_id: String,
}

/// A connection's work, from the load's beginning to its end.
pub(super) type Task = Pin<Box<dyn Future<Output = Ended> + Send>>;

/// All that make the load.
#[derive(Default)]
pub(super) struct Crew {
    pub(super) tasks: Vec<Task>,
    /// Everyone's.
    pub(super) gates: Vec<Arc<Gate>>,
    /// Those of who sends, in the order of the timetable.
    pub(super) senders: Vec<Arc<Gate>>,
}

impl Crew {
    /// Adds one that answers.
    pub(super) fn add(&mut self, site: &Site, connection: Connection, work: Box<dyn Work>) {
        let gate = Arc::default();
        self.tasks.push(site.task(connection, work, Role::Answers, &gate));
        self.gates.push(gate);
    }

    /// Adds one that sends: the next in the timetable.
    pub(super) fn add_sender(
        &mut self,
        site: &Site,
        connection: Connection,
        work: Box<dyn Work>,
        gate: Arc<Gate>,
    ) {
        let role = Role::Asks(self.senders.len());
        let task = site.task(connection, work, role, &gate);
        self.add_task(task, gate);
    }

    /// Adds one that sends and whose connections are its own affair.
    pub(super) fn add_task(&mut self, task: Task, gate: Arc<Gate>) {
        self.tasks.push(task);
        self.gates.push(Arc::clone(&gate));
        self.senders.push(gate);
    }
}
