#![doc = include_str!("../README.md")]

mod client;
mod connection;
mod endpoint;
mod error;
mod event;
mod handler;
mod message;
mod options;
mod pending;
mod raw;
mod registration;
mod secret;
mod state;
mod stats;
mod tls;
mod transport;

pub use client::Client;
pub use error::{AnswerError, Error, code};
pub use event::{Event, Events, Origin, Subscription};
pub use handler::{Reply, RequestHandler, ServerRequest};
pub use options::{ConnectOptions, EventMode, Login, Reconnect, Timeouts};
pub use raw::{Framing, RawConnection, RawStream};
pub use registration::Registration;
pub use secret::Secret;
pub use state::{ConnectionState, DisconnectReason, RefusedSubscription, SessionId, States};
pub use stats::Stats;
pub use tls::Tls;
