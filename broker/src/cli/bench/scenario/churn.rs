//! Connect, log in, close, and again.

use std::{
    future::poll_fn,
    sync::{Arc, atomic::Ordering},
};

use clap::Args;
use jackfield_client::EventMode;

use super::{CommonArgs, RateArgs};
use crate::cli::bench::{
    clock::Phase,
    connection::{Broken, Gate},
    drive::{Ended, Role},
    pace::Pace,
    report::Settings,
    site::{Crew, Site},
    tally::{Recorder, Tally},
};

#[derive(Debug, Args)]
pub(in crate::cli::bench) struct ChurnArgs {
    #[command(flatten)]
    rate: RateArgs,
    #[command(flatten)]
    pub(super) common: CommonArgs,
}

impl ChurnArgs {
    pub(super) fn settings(&self, common: Settings) -> Settings {
        Settings { scenario: "churn", rate: self.rate.rate, ..common }
    }

    pub(super) fn crew(&self, site: &Site) -> Crew {
        let mut crew = Crew::default();
        for index in 0..self.common.connections {
            let gate: Arc<Gate> = Arc::default();
            let pace = Pace::new(self.rate.rate, index, self.common.connections);
            let comer = Comer { site: site.clone(), pace, tally: Tally::default() };
            crew.add_task(Box::pin(comer.come_and_go(index, Arc::clone(&gate))), gate);
        }
        crew
    }
}

/// One that comes and goes.
struct Comer {
    site: Site,
    pace: Pace,
    tally: Tally,
}

impl Comer {
    async fn come_and_go(mut self, index: usize, gate: Arc<Gate>) -> Ended {
        let mut recorder = Recorder::new(&self.site.shared.latencies);
        let start = self.site.shared.timeline().map_or(0, |timeline| timeline.start);
        let mut seen = 0;
        while self.site.shared.phase() == Phase::Load {
            let Some(intended) = self.pace.due(start, self.site.shared.now()) else {
                poll_fn(|cx| gate.poll_opened(cx, &mut seen)).await;
                continue;
            };
            self.pace.advance();
            self.tally.sent += 1;
            if let Err(broken) = self.visit(intended, &mut recorder).await {
                self.tally.connections_lost += 1;
                self.tally.problem(|| broken.to_string());
                break;
            }
        }
        self.tally.unsent = self.pace.behind(start, self.site.shared.end_of_load());
        Ended { role: Role::Asks(index), tally: self.tally, connection: None }
    }

    /// One visit. Its latency is that of the login, connecting included.
    async fn visit(&mut self, intended: u64, recorder: &mut Recorder) -> Result<(), Broken> {
        let (connection, _) = self.site.session(EventMode::Push).await?;
        let shared = &self.site.shared;
        let logged_in = shared.now();
        self.tally.answered += 1;
        shared.bytes_sent.fetch_add(connection.traffic.sent, Ordering::Relaxed);
        shared.bytes_received.fetch_add(connection.traffic.received, Ordering::Relaxed);
        connection.close().await?;
        shared.completed.fetch_add(1, Ordering::Relaxed);
        if shared.measures(intended) {
            recorder.record(logged_in.saturating_sub(intended));
        }
        Ok(())
    }
}
