//! What the broker knows of its connections and sessions: shared state, no sockets.

mod directory;
mod link;
mod outbound;
/// When messages are written at once.
pub mod pace;
mod queue;
mod record;

pub use directory::{Anonymous, Directory};
pub use link::{Link, Turn};
pub use outbound::{Item, Outbound, PushError, PutOff, Waiter};
pub use queue::{Writer, Written};
pub use record::{Session, SubscriptionKey, Subscriptions};
