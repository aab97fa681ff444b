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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::fakes;

    #[tokio::test]
    async fn echoes_are_counted() {
        for setting in fakes::echo().await {
            let metrics = measure(&setting).await.unwrap();
            assert!(metrics.0["per_second"] > 0.0, "{metrics:?}");
        }
    }

    #[tokio::test]
    async fn an_answer_that_is_lost_or_doubled_fails_the_run() {
        let lost = measure(&fakes::faulty(0).await).await.unwrap_err();
        assert_eq!(lost, "what was in flight never arrived");
        let doubled = measure(&fakes::faulty(2).await).await.unwrap_err();
        assert!(doubled.ends_with("which is not open"), "{doubled}");
    }
}
