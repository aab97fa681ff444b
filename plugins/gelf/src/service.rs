//! The plugin's tasks: one that sends to each server, and one that fills each spool.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use jackfield_plugin_api::{Error, ErrorCode, Host, Result, Service, Shutdown};
use tokio::{task::JoinSet, time::timeout};

use crate::{
    config::Settings,
    outlet::Outlet,
    sender::{Sender, Source},
    spool::Spool,
};

/// How long everything that waits may take to be sent at the end, where nobody says.
const DRAIN: Duration = Duration::from_secs(5);

/// What is left of that for the tasks to end in, a tenth at most.
const MARGIN: Duration = Duration::from_millis(100);

/// Who logs at the very moment of a reload still finds the former queue, and is not to be refused.
const LATE: Duration = Duration::from_millis(50);

/// Sends what is logged.
pub(crate) struct Sending {
    pub(crate) outlets: Arc<[Arc<Outlet>]>,
    pub(crate) settings: Arc<Settings>,
}

#[async_trait]
impl Service for Sending {
    async fn run(self: Arc<Self>, _host: Arc<dyn Host>, stop: Shutdown) -> Result<()> {
        let give_up = Shutdown::new();
        let mut tasks = JoinSet::new();
        for outlet in &*self.outlets {
            tasks.spawn(send(Arc::clone(outlet), Arc::clone(&self.settings), give_up.clone()));
        }
        let broken = stop.or(tasks.join_next()).await;
        if broken.is_none() {
            tokio::time::sleep(LATE.min(time_left(&stop) / 10)).await;
        }
        // From here on what can no longer be sent is refused.
        self.outlets.iter().for_each(|outlet| outlet.queue.close());
        if broken.is_none() {
            drain(&mut tasks, &give_up, &stop).await;
        }
        tasks.shutdown().await;
        self.outlets.iter().for_each(|outlet| give_up_on(outlet));
        match broken {
            None => Ok(()),
            Some(_) => Err(ErrorCode::InternalError.into()).inspect_err(|_: &Error| {
                tracing::error!("a task that sends logs ended by itself");
            }),
        }
    }
}

/// Waits until all is sent, as long as there is time for it.
async fn drain(tasks: &mut JoinSet<()>, give_up: &Shutdown, stop: &Shutdown) {
    let time = time_left(stop);
    let margin = MARGIN.min(time / 10);
    let all = async { while tasks.join_next().await.is_some() {} };
    if timeout(time.saturating_sub(margin), all).await.is_ok() {
        return;
    }
    give_up.request();
    let all = async { while tasks.join_next().await.is_some() {} };
    // Those that do not notice are ended by whoever called this.
    timeout(margin / 2, all).await.ok();
}

fn time_left(stop: &Shutdown) -> Duration {
    stop.deadline().map_or(DRAIN, |deadline| deadline.saturating_duration_since(Instant::now()))
}

fn give_up_on(outlet: &Outlet) {
    let lost = outlet.abandon();
    if lost > 0 {
        tracing::warn!(server = %outlet.server, records = lost, "log records could not be sent in time and are lost");
    }
}

async fn send(outlet: Arc<Outlet>, settings: Arc<Settings>, give_up: Shutdown) {
    let Some(spool_settings) = &settings.spool else {
        Sender::new(outlet, Arc::clone(&settings), Source::Memory, give_up).run().await;
        return;
    };
    let Some(spool) = give_up.or(Spool::open(spool_settings, Arc::clone(&outlet))).await else { return };
    let spool = Arc::new(spool);
    let sender =
        Sender::new(outlet, Arc::clone(&settings), Source::Disk(Arc::clone(&spool)), give_up.clone());
    tokio::join!(give_up.or(spool.fill()), sender.run());
}
