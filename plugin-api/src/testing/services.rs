//! Services of the plugins under test.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::loaded::Loaded;
use crate::{
    error::{Error, ErrorCode, Result},
    service::Shutdown,
};

/// Services that run until they are stopped. Dropping this drops them where they stand.
#[derive(Debug)]
pub struct RunningServices {
    tasks: JoinSet<Result<()>>,
    shutdown: Shutdown,
}

impl RunningServices {
    pub(super) fn start(loaded: &Loaded) -> Self {
        let (mut tasks, shutdown) = (JoinSet::new(), Shutdown::new());
        for plugin in &loaded.plugins {
            for service in &plugin.registered.services {
                tasks.spawn(Arc::clone(service).run(Arc::clone(&plugin.host), shutdown.clone()));
            }
        }
        Self { tasks, shutdown }
    }

    /// Asks them to end, and waits until they have.
    ///
    /// # Errors
    /// The first that a service ended with; `internal_error` for one that panicked.
    pub async fn stop(mut self) -> Result<()> {
        self.shutdown.request();
        while let Some(ended) = self.tasks.join_next().await {
            ended.map_err(|source| Error::new(ErrorCode::InternalError).with_source(source))??;
        }
        Ok(())
    }
}
