//! Panics that were caught: the log has them, the client gets a reference.

use std::any::Any;

use jackfield_plugin_api::Error;

/// Logs a caught panic under a new reference, and gives the error that names it (protocol §6).
pub fn caught(what: &'static str, panic: &(dyn Any + Send)) -> Error {
    let reference = uuid::Uuid::new_v4();
    tracing::error!(%reference, panic = message(panic), "{what}");
    Error::internal_ref(reference)
}

/// Logs a handler's panic, with the plugin and the command.
pub fn caught_in(plugin: &str, command: &impl std::fmt::Display, panic: &(dyn Any + Send)) -> Error {
    let reference = uuid::Uuid::new_v4();
    tracing::error!(%reference, plugin, %command, panic = message(panic), "a handler panicked");
    Error::internal_ref(reference)
}

/// What a panic said.
pub fn message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref().copied())
        .unwrap_or("?")
}
