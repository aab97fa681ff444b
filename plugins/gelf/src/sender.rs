//! The task that sends to one server.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use jackfield_plugin_api::Shutdown;

use crate::{
    backoff::Backoff,
    config::Settings,
    meters::Reason,
    outlet::Outlet,
    queue::BATCH_RECORDS,
    recent::Recent,
    spool::Spool,
    transport::{Connection, Outcome, Progress, Resends},
};

/// A connection that held so long was a good one: the next attempt is the first again.
const GOOD: Duration = Duration::from_secs(1);

/// Where records come from.
pub(crate) enum Source {
    Memory,
    Disk(Arc<Spool>),
}

/// Sends what waits for one server.
pub(crate) struct Sender {
    outlet: Arc<Outlet>,
    settings: Arc<Settings>,
    source: Source,
    /// Requested when there is no more time.
    give_up: Shutdown,
    progress: Progress,
    /// What is written again after a reconnect.
    recent: Recent,
}

/// Whether the operator was told that a server cannot be reached.
enum Reached {
    Yes,
    No,
}

impl Sender {
    pub(crate) fn new(
        outlet: Arc<Outlet>,
        settings: Arc<Settings>,
        source: Source,
        give_up: Shutdown,
    ) -> Self {
        let recent = Recent::new(settings.resend, settings.queue_bytes);
        Self { outlet, settings, source, give_up, progress: Progress::default(), recent }
    }

    /// Runs until all is sent that there will be, or until there is no more time.
    pub(crate) async fn run(mut self) {
        let mut backoff = Backoff::new();
        let mut reached = Reached::Yes;
        loop {
            let started = Instant::now();
            let error = match self.session(&mut reached).await {
                Ok(()) => return,
                Err(error) => error,
            };
            if started.elapsed() >= GOOD {
                backoff.reset();
            }
            if let Reached::Yes = std::mem::replace(&mut reached, Reached::No) {
                tracing::warn!(server = %self.outlet.server, %error, "cannot send to the log server; what is logged waits");
            }
            if self.give_up.is_requested() || self.is_kept() {
                return;
            }
            self.outlet.meters().reconnects.inc();
            let pause = tokio::time::sleep(backoff.delay());
            if self.give_up.or(pause).await.is_none() {
                return;
            }
        }
    }

    /// Whether there will be no more records, and those that are left are on disk: no reason to wait for the server.
    fn is_kept(&self) -> bool {
        matches!(&self.source, Source::Disk(spool) if spool.is_closed())
    }

    /// Connects, and sends until the connection ends or nothing is left.
    async fn session(&mut self, reached: &mut Reached) -> io::Result<()> {
        let give_up = self.give_up.clone();
        let connect = Connection::open(&self.outlet.server, &self.settings);
        let Some(connection) = give_up.or(connect).await else { return Ok(()) };
        let mut connection = connection?;
        let resends = connection.resends();
        self.send_recent_again(&mut connection).await?;
        loop {
            let batch = tokio::select! {
                biased;
                () = give_up.requested() => return Ok(()),
                error = connection.closed() => return Err(error),
                batch = self.next() => batch,
            };
            let Some(batch) = batch else {
                connection.finish().await;
                return Ok(());
            };
            let sent = give_up.or(connection.send(&batch, &mut self.progress)).await;
            self.account(&batch, resends).await;
            match sent {
                None => return Ok(()),
                Some(sent) => sent?,
            }
            if let Reached::No = std::mem::replace(reached, Reached::Yes) {
                tracing::info!(server = %self.outlet.server, "the log server takes records again");
            }
        }
    }

    /// What was in the kernel's buffers when a connection died is lost, and nobody says how much that was.
    async fn send_recent_again(&mut self, connection: &mut Connection) -> io::Result<()> {
        for batch in self.recent.batches(BATCH_RECORDS) {
            let mut progress = Progress::default();
            // Dropped half-way, they are still what was written last.
            match self.give_up.or(connection.send(&batch, &mut progress)).await {
                Some(sent) => sent?,
                None => break,
            }
        }
        Ok(())
    }

    async fn next(&self) -> Option<Vec<Bytes>> {
        match &self.source {
            Source::Memory => self.outlet.queue.next().await,
            Source::Disk(spool) => spool.next().await,
        }
    }

    /// Counts what became of the first records of a batch, and lets go of them.
    async fn account(&mut self, batch: &[Bytes], resends: Resends) {
        let done = self.progress.take_done();
        let count = |outcome: Outcome| done.iter().filter(|known| **known == outcome).count();
        let meters = self.outlet.meters();
        meters.sent.add(count(Outcome::Sent) as u64);
        meters.dropped(Reason::TooLarge, count(Outcome::TooLarge));
        meters.dropped(Reason::Rejected, count(Outcome::Rejected));
        if let Resends::Last = resends {
            self.recent.extend(batch.iter().take(done.len()));
        }
        if done.is_empty() {
            return;
        }
        match &self.source {
            Source::Memory => self.outlet.done(done.len()),
            Source::Disk(spool) => spool.done(done.len()).await,
        }
    }
}
