//! Tasks of a plugin's own: a listener, a timer.

use std::{
    future::Future,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::{error::Result, host::Host};

/// Runs as long as the plugin does.
#[async_trait]
pub trait Service: Send + Sync + 'static {
    /// Runs until it is done or `stop` is requested. After `timeouts.drain` it is dropped where it stands.
    ///
    /// # Errors
    /// Whatever made it end early; the log has it, and the plugin's state is `failed`.
    async fn run(self: Arc<Self>, host: Arc<dyn Host>, stop: Shutdown) -> Result<()>;
}

/// Tells a service to end.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    requested: CancellationToken,
    deadline: Arc<OnceLock<Instant>>,
}

impl Shutdown {
    /// One that nobody has requested yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks all holders of this to end.
    pub fn request(&self) {
        self.requested.cancel();
    }

    /// Asks all holders of this to end, and tells them how long they have. The first time counts.
    pub fn request_within(&self, time: Duration) {
        // Set already: somebody asked before.
        self.deadline.set(Instant::now() + time).ok();
        self.requested.cancel();
    }

    /// Until when those who were asked must have ended, where that is known. What they still do then is dropped where
    /// it stands, or goes on beside what takes its place.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline.get().copied()
    }

    /// Whether it was requested.
    pub fn is_requested(&self) -> bool {
        self.requested.is_cancelled()
    }

    /// Waits until it is requested.
    pub async fn requested(&self) {
        self.requested.cancelled().await;
    }

    /// Runs `work` until it is done, or `None` when the end is requested before that.
    pub async fn or<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.requested.run_until_cancelled(work).await
    }
}
