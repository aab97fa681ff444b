//! Commands from session to session and back.

use std::sync::Arc;

use clap::Args;
use jackfield_client::EventMode;

use super::{CommonArgs, LoadArgs};
use crate::cli::{
    bench::{
        asker::{Asker, Asking, Body, Expect, Measure, Request},
        pace::Pace,
        payload::Payload,
        report::Settings,
        responder::{CLASS, Target},
        site::{Crew, SessionName, Site},
    },
    connect::Failure,
};

#[derive(Debug, Args)]
pub(in crate::cli::bench) struct CmdArgs {
    #[command(flatten)]
    load: LoadArgs,
    #[command(flatten)]
    pub(super) common: CommonArgs,
}

impl CmdArgs {
    pub(super) fn check(&self) -> Result<(), Failure> {
        if self.common.connections.is_multiple_of(2) {
            return Ok(());
        }
        Err(Failure::usage("--connections: cmd needs an even number, for half of them are targets"))
    }

    pub(super) fn settings(&self, common: Settings) -> Settings {
        Settings {
            scenario: "cmd",
            depth: Some(self.load.depth),
            payload_bytes: Some(self.load.payload()),
            rate: self.load.rate.rate,
            ..common
        }
    }

    pub(super) async fn crew(&self, site: &Site) -> Result<Crew, Failure> {
        let pairs = self.common.connections / 2;
        let targets = site.sessions(pairs, EventMode::Push).await?;
        let callers = site.sessions(pairs, EventMode::Push).await?;
        let payload = Payload::new(site.run, self.load.payload());
        let mut crew = Crew::default();
        for (index, ((target, name), (caller, _))) in targets.into_iter().zip(callers).enumerate() {
            crew.add(site, target, Box::new(Target::new(payload.clone())));
            let asking = Asking {
                index: index as u64,
                request: request(&name, payload.clone()),
                expect: Expect::Echo,
                measure: Measure::Answers,
                depth: self.load.depth,
                pace: Pace::new(self.load.rate.rate, index, pairs),
            };
            crew.add_sender(site, caller, Box::new(Asker::new(asking, &site.shared)), Arc::default());
        }
        Ok(crew)
    }
}

fn request(target: &SessionName, payload: Payload) -> Request {
    let session_id = serde_json::Value::from(target.session_id.as_str());
    let before = format!(
        "{{\"class\":\"core\",\"subclass\":\"session\",\"cmd\":\"cmd\",\"data\":{{\"session_id\":{session_id},\"class\":\"{CLASS}\",\"cmd\":\"echo\",\"data\":"
    );
    Request { before: before.into_bytes(), body: Body::Stamped(payload), after: b"}".to_vec() }
}
