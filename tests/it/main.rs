//! Black-box tests of the broker: the real binary, real sockets, the wire protocol as it is written down.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]
#![allow(clippy::indexing_slicing, clippy::string_slice, reason = "tests fail by panicking")]
#![allow(unreachable_pub, reason = "modules of one test binary")]

mod support;

mod abi;
mod bad_input;
mod bench_command;
mod browser;
mod cli;
mod events;
mod examples;
#[cfg(target_os = "linux")]
mod footprint;
mod framing;
mod gelf;
mod levels;
mod lifecycle;
mod limits;
mod load;
mod login;
mod observability;
mod permissions;
mod plugins;
mod registry;
mod services;
mod sessions;
mod slow_consumer;
mod timers;
mod tls;
mod workers;
