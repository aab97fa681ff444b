//! The Jackfield broker: the library behind the `jackfield` binary.

pub mod broker;
pub mod cli;
pub mod config;
pub mod telemetry;
