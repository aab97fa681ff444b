//! Requests that the broker itself answers.

use std::sync::Arc;

use clap::Args;
use jackfield_client::EventMode;
use serde_json::value::RawValue;

use super::{CommonArgs, LoadArgs};
use crate::cli::{
    bench::{
        asker::{Asker, Asking, Body, Expect, Measure, Request},
        pace::Pace,
        payload::Payload,
        report::Settings,
        site::{Crew, Site},
    },
    call::{CommandPath, one_line},
    connect::Failure,
};

#[derive(Debug, Args)]
pub(in crate::cli::bench) struct RpcArgs {
    /// The command
    #[arg(value_name = "CLASS/SUBCLASS/CMD", default_value = "core/core/ping")]
    command: CommandPath,
    /// The command's data, JSON [default: for ping --payload, for others {}]
    #[arg(value_name = "DATA", allow_hyphen_values = true, conflicts_with = "payload")]
    data: Option<String>,
    /// The answer's data must be what was sent
    #[arg(long)]
    echo: bool,
    #[command(flatten)]
    load: LoadArgs,
    #[command(flatten)]
    pub(super) common: CommonArgs,
}

impl RpcArgs {
    /// What requests carry.
    pub(super) fn body(&self, run: u64) -> Result<Body, Failure> {
        if let Some(text) = &self.data {
            let data: &RawValue = serde_json::from_str(text)
                .map_err(|error| Failure::usage(format!("DATA is not JSON: {error}")))?;
            return Ok(Body::Fixed(one_line(data.get()).into_bytes()));
        }
        if self.load.payload.is_none() && !self.command.is_ping() {
            return Ok(Body::Fixed(b"{}".to_vec()));
        }
        Ok(Body::Stamped(Payload::new(run, self.load.payload())))
    }

    pub(super) fn settings(&self, common: Settings) -> Settings {
        let CommandPath { class, subclass, cmd } = &self.command;
        let payload = self.body(0).map_or(0, |body| match body {
            Body::Fixed(text) => text.len(),
            Body::Stamped(payload) => payload.len(),
        });
        Settings {
            scenario: "rpc",
            command: Some(format!("{class}/{subclass}/{cmd}")),
            depth: Some(self.load.depth),
            payload_bytes: Some(payload),
            rate: self.load.rate.rate,
            ..common
        }
    }

    pub(super) async fn crew(&self, site: &Site) -> Result<Crew, Failure> {
        let sessions = site.sessions(self.common.connections, EventMode::Push).await?;
        let request = self.request(site.run)?;
        let mut crew = Crew::default();
        for (index, (connection, _)) in sessions.into_iter().enumerate() {
            let asking = Asking {
                index: index as u64,
                request: request.clone(),
                expect: if self.echo { Expect::Echo } else { Expect::Ok },
                measure: Measure::Answers,
                depth: self.load.depth,
                pace: Pace::new(self.load.rate.rate, index, self.common.connections),
            };
            let asker = Asker::new(asking, &site.shared);
            crew.add_sender(site, connection, Box::new(asker), Arc::default());
        }
        Ok(crew)
    }

    fn request(&self, run: u64) -> Result<Request, Failure> {
        let CommandPath { class, subclass, cmd } = &self.command;
        let text = serde_json::json!({"class": class, "subclass": subclass, "cmd": cmd}).to_string();
        let before = format!("{},\"data\":", text.trim_end_matches('}')).into_bytes();
        Ok(Request { before, body: self.body(run)?, after: Vec::new() })
    }
}
