//! What the broker tells about itself: log and metrics.

pub mod logging;
mod metrics;
pub mod panics;

pub use metrics::{BadInput, ByReason, DropReason, Metrics, Outcome, Reason, TlsFailure};
