//! Sessions that do nothing.

use clap::Args;
use jackfield_client::EventMode;

use super::CommonArgs;
use crate::cli::{
    bench::{
        responder::Idle,
        site::{Crew, Site},
    },
    connect::Failure,
};

#[derive(Debug, Args)]
pub(in crate::cli::bench) struct IdleArgs {
    #[command(flatten)]
    pub(super) common: CommonArgs,
}

impl IdleArgs {
    pub(super) async fn crew(&self, site: &Site) -> Result<Crew, Failure> {
        let mut crew = Crew::default();
        for (connection, _) in site.sessions(self.common.connections, EventMode::Ack).await? {
            crew.add(site, connection, Box::new(Idle::default()));
        }
        Ok(crew)
    }
}
