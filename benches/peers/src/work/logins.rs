//! Connect, log in, close, and again.

use std::sync::Arc;

use super::Setting;
use crate::{
    link::Target,
    outcome::Metrics,
    run::{Crew, Phase, Run},
};

/// The shape's connections are those that come and go at the same time.
pub(super) async fn measure(setting: &Setting) -> Result<Metrics, String> {
    let mut crew = Crew::new(Run::new()?);
    for worker in 0..setting.shape.connections {
        crew.task(come_and_go(setting.target, worker, Arc::clone(&crew.run)));
    }
    Ok(Metrics::of_load(&crew.measure(&setting.plan, &setting.server).await?))
}

async fn come_and_go(target: Target, worker: usize, run: Arc<Run>) -> Result<(), String> {
    let mut visits = 0;
    while run.phase() == Phase::Load {
        // Each from an address of its own, for the port of a closed connection rests for a while.
        let link = target.login(&format!("visitor-{worker}-{visits}"), worker * 1000 + visits % 1000).await?;
        link.close().await?;
        run.add_done(worker, 1);
        visits += 1;
    }
    Ok(())
}
