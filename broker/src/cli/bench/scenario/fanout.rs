//! Events from publishers to subscribers.

use std::sync::Arc;

use clap::Args;
use futures_util::{StreamExt, TryStreamExt, stream};
use jackfield_client::EventMode;

use super::{CommonArgs, LoadArgs};
use crate::cli::{
    bench::{
        asker::{Asker, Asking, Body, Deliveries, Expect, Measure, Request},
        connection::{Broken, Connection, Gate},
        pace::Pace,
        payload::Payload,
        report::Settings,
        responder::{CLASS, Subscriber},
        site::{Crew, Site, failure},
    },
    connect::Failure,
};

#[derive(Debug, Args)]
pub(in crate::cli::bench) struct FanoutArgs {
    /// How many publishers; --depth is how many events of each may be on their way
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = super::count)]
    publishers: usize,
    /// Subscribers answer every event, as they do by default
    #[arg(long)]
    ack: bool,
    /// Subscribers get events without having to answer them
    #[arg(long, conflicts_with = "ack")]
    push: bool,
    #[command(flatten)]
    load: LoadArgs,
    #[command(flatten)]
    pub(super) common: CommonArgs,
}

impl FanoutArgs {
    fn mode(&self) -> EventMode {
        if self.push { EventMode::Push } else { EventMode::Ack }
    }

    pub(super) fn settings(&self, common: Settings) -> Settings {
        Settings {
            scenario: "fanout",
            mode: Some(if self.push { "push" } else { "ack" }),
            publishers: Some(self.publishers),
            depth: Some(self.load.depth),
            payload_bytes: Some(self.load.payload()),
            rate: self.load.rate.rate,
            ..common
        }
    }

    pub(super) async fn crew(&self, site: &Site) -> Result<Crew, Failure> {
        let topic = format!("{:016x}", site.run);
        let payload = Payload::new(site.run, self.load.payload());
        let gates: Vec<Arc<Gate>> = (0..self.publishers).map(|_| Arc::default()).collect();
        let subscribers = self.common.connections as u64;
        let deliveries: Vec<_> =
            gates.iter().map(|gate| Arc::new(Deliveries::new(subscribers, Arc::clone(gate)))).collect();
        let mut crew = Crew::default();
        for connection in self.subscribed(site, &topic).await? {
            let subscriber = Subscriber::new(&site.shared, payload.clone(), &topic, &deliveries);
            crew.add(site, connection, Box::new(subscriber));
        }
        let publishers = site.sessions(self.publishers, EventMode::Push).await?;
        for (index, (((connection, _), gate), all)) in
            publishers.into_iter().zip(gates).zip(deliveries).enumerate()
        {
            let asking = Asking {
                index: index as u64,
                request: request(&topic, payload.clone()),
                expect: Expect::Ok,
                measure: Measure::Deliveries(all),
                depth: self.load.depth,
                pace: Pace::new(self.load.rate.rate, index, self.publishers),
            };
            crew.add_sender(site, connection, Box::new(Asker::new(asking, &site.shared)), gate);
        }
        Ok(crew)
    }

    /// The subscribers' connections, subscribed.
    async fn subscribed(&self, site: &Site, topic: &str) -> Result<Vec<Connection>, Failure> {
        let sessions = site.sessions(self.common.connections, self.mode()).await?;
        let request = format!(
            "{{\"class\":\"core\",\"subclass\":\"event\",\"cmd\":\"subscribe\",\"data\":{{\"class\":\"{CLASS}\",\"obj_id\":\"{topic}\"}},\"tid\":1}}"
        );
        let subscribing = stream::iter(sessions).map(async |(mut connection, _)| {
            let answer = connection.ask(request.as_bytes(), site.timeout).await;
            answer.map_err(|Broken(reason)| {
                Broken(format!("cannot subscribe to {CLASS}/*/*/{topic}: {reason}"))
            })?;
            Ok(connection)
        });
        subscribing.buffer_unordered(64).try_collect().await.map_err(failure)
    }
}

fn request(topic: &str, payload: Payload) -> Request {
    let before = format!(
        "{{\"class\":\"core\",\"subclass\":\"event\",\"cmd\":\"send_event\",\"data\":{{\"class\":\"{CLASS}\",\"obj_id\":\"{topic}\",\"body\":"
    );
    Request { before: before.into_bytes(), body: Body::Stamped(payload), after: b"}".to_vec() }
}
