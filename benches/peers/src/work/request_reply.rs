//! From client to client and back: each requester has a connection of its own that answers it.

use std::sync::Arc;

use super::{
    Setting,
    requester::{Answerer, Asked, Load, Requester},
};
use crate::{
    outcome::Metrics,
    run::{Crew, Run},
};

pub(super) async fn measure(setting: &Setting) -> Result<Metrics, String> {
    let mut crew = Crew::new(Run::new()?);
    let mut links = setting.target.logins("client", 2 * setting.shape.requesters()).await?.into_iter();
    let mut index = 0;
    while let (Some(mut answerer), Some(mut requester)) = (links.next(), links.next()) {
        // The names that clients log in with.
        let name = format!("client-{}", 2 * index);
        answerer.serve(&name).await?;
        crew.receiver(answerer, Answerer::new());
        requester.dialect.await_answers(&mut requester.outbox);
        let load = Load::closed(setting.shape.depth);
        let role = Requester::new(&crew.run, index, Asked::Client(name), load);
        crew.sender(requester, role, Arc::default());
        index += 1;
    }
    Ok(Metrics::of_load(&crew.measure(&setting.plan, &setting.server).await?))
}
