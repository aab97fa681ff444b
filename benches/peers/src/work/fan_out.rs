//! One publisher, many subscribers: saturated, or one event at a time.

use std::sync::Arc;

use super::{
    Setting,
    subscriber::{Flight, Measure, Publisher, Subscriber, TOPIC},
};
use crate::{
    outcome::Metrics,
    pace::Pace,
    run::{Crew, Run},
};

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
    let mut crew = Crew::new(Run::new()?);
    for (index, link) in links.into_iter().enumerate() {
        crew.receiver(link, Subscriber::new(&crew.run, flight, index, measure));
    }
    let role = Publisher::new(&crew.run, flight, pace, &*publisher.dialect);
    crew.sender(publisher, role, Arc::clone(&flight.gate));
    Ok(crew)
}
