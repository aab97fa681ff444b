//! One publisher, many subscribers: saturated, or one event at a time.

use std::{sync::Arc, time::Duration};

use super::{
    Setting,
    subscriber::{Flight, Measure, Publisher, Subscriber, TOPIC},
};
use crate::{
    outcome::Metrics,
    pace::Pace,
    run::{Crew, Run},
};

/// Subscribers have been there for a while when the first event comes. For 40 ms after the last exchange of a handshake, the
/// kernel takes a connection for a dialogue, puts off acknowledging what comes, and keeps doing so while more comes:
/// by how soon the first event followed, an event to a receiver on the same machine cost a quarter more or less.
const REST: Duration = Duration::from_millis(200);

/// The shape's connections are the subscribers, its depth the events in flight.
pub(super) async fn measure(setting: &Setting) -> Result<Metrics, String> {
    let flight = Flight::new(setting.shape.depth, setting.shape.connections);
    let mut crew = crew(setting, &flight, Pace::Window, Measure::Deliveries).await?;
    Ok(Metrics::of_load(&crew.measure(&setting.plan, &setting.server).await?))
}

/// Subscribers, and then the publisher.
pub(super) async fn crew(
    setting: &Setting,
    flight: &Arc<Flight>,
    pace: Pace,
    measure: Measure,
) -> Result<Crew, String> {
    let links = setting.target.subscribers(setting.shape.connections, TOPIC).await?;
    let publisher = setting.target.login("publisher", links.len()).await?;
    tokio::time::sleep(REST).await;
    let mut crew = Crew::new(Run::new()?);
    for (index, link) in links.into_iter().enumerate() {
        crew.receiver(link, Subscriber::new(&crew.run, flight, index, measure));
    }
    let role = Publisher::new(&crew.run, flight, pace, &*publisher.dialect);
    crew.sender(publisher, role, Arc::clone(&flight.gate));
    Ok(crew)
}
