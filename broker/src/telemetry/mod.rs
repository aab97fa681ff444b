//! What the broker tells about itself: log and metrics.

mod forward;
pub mod logging;
mod metrics;
pub mod panics;

pub use forward::Outlet;
pub use metrics::{BadInput, ByReason, DropReason, Metrics, Outcome, Reason, TlsFailure};
