//! Requests that the server itself answers: the echo server with what it got, Jackfield with `ok`.

use std::sync::Arc;

use super::{
    Setting,
    requester::{Asked, Requester},
};
use crate::{
    outcome::Metrics,
    run::{Crew, Measured, Run},
};

pub(super) async fn measure(setting: &Setting) -> Result<Metrics, String> {
    Ok(Metrics::of_load(&saturate(setting).await?))
}

/// As many requests as the connections keep in flight.
pub(super) async fn saturate(setting: &Setting) -> Result<Measured, String> {
    let mut crew = Crew::new(Run::new()?);
    for index in 0..setting.shape.connections {
        let link = setting.target.login(&format!("requester-{index}"), index).await?;
        let role = Requester::new(&crew.run, index, Asked::Server, setting.shape.depth);
        crew.sender(link, role, Arc::default());
    }
    crew.measure(&setting.plan, &setting.server).await
}
