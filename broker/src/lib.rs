//! The Jackfield broker: library behind the `jackfield` binary.

pub mod config;
