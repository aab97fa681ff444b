//! Plugins in libraries of their own: the C ABI, and both sides of it.
//!
//! A plugin becomes a library by one line, [`export_plugin!`](crate::export_plugin), in a crate of type `cdylib`. It
//! then needs neither the broker's compiler nor its allocator, profile or versions: only bytes and handles cross the
//! border, as `include/jackfield_plugin.h` says. A library has an asynchronous runtime of its own; a handler is polled
//! once on the thread that calls, so one that is ready at once costs no hop.
//!
//! `abi` is the header in Rust, `wire` the JSON forms that it names, `slot` waiting for the other side. [`guest`] is
//! the library's side, `host` (feature `host`) the broker's.
#![allow(unsafe_code, reason = "the C ABI")]
#![cfg_attr(
    not(feature = "host"),
    allow(dead_code, unused_imports, reason = "what both sides share, one of them uses")
)]

mod abi;
pub mod guest;
#[cfg(feature = "host")]
pub mod host;
mod slot;
#[cfg(test)]
mod tests;
mod wire;

pub use abi::{
    ABI_MAJOR, ABI_MINOR, ABORTS, Caller, Completion, Event, Host, MAGIC, PluginTable, Request, SYMBOL, Text,
    UNWINDS,
};
