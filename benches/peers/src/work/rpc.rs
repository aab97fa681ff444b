//! Requests that the server itself answers: the echo server with what it got, Jackfield with `ok`.

use std::sync::Arc;

use super::{
    Setting,
    requester::{Asked, Load, Requester},
};
use crate::{
    link::Gate,
    outcome::Metrics,
    run::{Crew, Measured, Run},
};

pub(super) async fn measure(setting: &Setting) -> Result<Metrics, String> {
    Ok(Metrics::of_load(&saturate(setting).await?))
}

/// As many requests as the connections keep in flight.
pub(super) async fn saturate(setting: &Setting) -> Result<Measured, String> {
    let load = |_| Load::closed(setting.shape.depth);
    let (mut crew, _) = crew(setting, "requester", load).await?;
    crew.measure(&setting.plan, &setting.server).await
}

/// Connections that ask the server, and what wakes them.
pub(super) async fn crew(
    setting: &Setting,
    team: &str,
    load: impl Fn(usize) -> Load,
) -> Result<(Crew, Vec<Arc<Gate>>), String> {
    let links = setting.target.logins(team, setting.shape.connections).await?;
    let mut crew = Crew::new(Run::new()?);
    let mut gates = Vec::new();
    for (index, link) in links.into_iter().enumerate() {
        let gate = Arc::<Gate>::default();
        gates.push(Arc::clone(&gate));
        crew.sender(link, Requester::new(&crew.run, index, Asked::Server, load(index)), gate);
    }
    Ok((crew, gates))
}
