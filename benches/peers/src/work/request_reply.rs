//! From client to client and back: each requester has a connection of its own that answers it.

use std::sync::Arc;

use super::{
    Setting,
    requester::{Answerer, Asked, Requester},
};
use crate::{
    outcome::Metrics,
    run::{Crew, Run},
};

pub(super) async fn measure(setting: &Setting) -> Result<Metrics, String> {
    let mut crew = Crew::new(Run::new()?);
    for index in 0..setting.shape.requesters() {
        let name = format!("answerer-{index}");
        let mut link = setting.target.login(&name, 2 * index).await?;
        link.serve(&name).await?;
        crew.receiver(link, Answerer::new());
        let mut link = setting.target.login(&format!("requester-{index}"), 2 * index + 1).await?;
        link.dialect.await_answers(&mut link.outbox);
        let role = Requester::new(&crew.run, index, Asked::Client(name), setting.shape.depth);
        crew.sender(link, role, Arc::default());
    }
    Ok(Metrics::of_load(&crew.measure(&setting.plan, &setting.server).await?))
}
