//! The client against a small server that speaks the protocol by hand, over both transports.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod support;

mod closing;
mod events;
mod reconnecting;
mod requests;
mod serving;
