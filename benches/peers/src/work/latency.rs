//! Events at a fixed rate: how long from when one was due until a subscriber has it.

use std::sync::Arc;

use super::{
    Setting, fan_out,
    subscriber::{Flight, Measure},
};
use crate::{
    outcome::Metrics,
    pace::{self, Pace},
};

/// What is in flight at most: far more than ever is.
const WINDOW: usize = 4096;

/// The shape's connections are the subscribers, its depth the events a second.
pub(super) async fn measure(setting: &Setting) -> Result<Metrics, String> {
    let per_second = setting.shape.depth as f64;
    let flight = Flight::new(WINDOW, setting.shape.connections);
    let mut crew = fan_out::crew(setting, &flight, Pace::share(per_second, 0, 1), Measure::Latency).await?;
    pace::open_gates(&crew.run, vec![Arc::clone(&flight.gate)], per_second)?;
    let measured = crew.measure(&setting.plan, &setting.server).await?;
    Ok(Metrics::of_load(&measured).with_latencies(&crew.run.latencies()))
}
