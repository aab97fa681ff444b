//! The Jackfield broker: the library behind the `jackfield` binary.
//!
//! `ARCHITECTURE.md` in the repository tells what is where and why. A binary with plugins of its own links them, and
//! calls [`cli::main`]; a program that embeds a broker uses [`Broker`].

mod admin;
pub mod auth;
pub mod broker;
mod builtin;
pub mod cli;
pub mod codec;
pub mod config;
pub mod connection;
pub mod event;
pub mod host;
pub mod lifecycle;
pub mod plugin;
pub mod registry;
pub mod router;
mod service;
pub mod session;
pub mod telemetry;
pub mod transport;
pub mod worker;

pub use broker::Broker;
