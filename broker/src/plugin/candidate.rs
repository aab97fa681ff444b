use std::{fmt, panic::AssertUnwindSafe, sync::Arc};

use jackfield_plugin_api::{Error, Host, Manifest, Plugin, Registrar};
use serde_json::Value;

use super::{Loaded, Origin, builtin};
use crate::{config::PluginRef, telemetry::panics};

/// A plugin that was found and says what it is, and that nothing has been asked of yet.
pub struct Candidate {
    /// How it is listed.
    pub reference: PluginRef,
    /// What it says of itself.
    pub manifest: Manifest,
    pub(super) origin: Origin,
    plugin: Arc<dyn Plugin>,
}

/// Why there is no such plugin.
#[derive(Debug)]
pub enum Missing {
    /// No plugin of this name is built in.
    Unknown(String),
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(name) => {
                write!(f, "expected the name of a plugin that is built in, found '{name}'")
            }
        }
    }
}

impl Candidate {
    /// Finds a plugin. Of libraries only those with one of the `allowed` SHA-256 sums, where there are any.
    ///
    /// # Errors
    /// Why there is none.
    pub fn find(reference: &PluginRef, _allowed: &[String]) -> Result<Self, Missing> {
        match reference {
            PluginRef::Builtin(name) => {
                let plugin = builtin().remove(name).ok_or_else(|| Missing::Unknown(name.clone()))?;
                Ok(Self {
                    reference: reference.clone(),
                    manifest: plugin.manifest(),
                    origin: Origin::Builtin,
                    plugin,
                })
            }
            PluginRef::Library(path) => Err(Missing::Unknown(path.display().to_string())),
        }
    }

    /// Has it register all it has.
    ///
    /// # Errors
    /// Its own refusal; `internal_error_ref` where it panics.
    pub fn register(&self, table: Value, host: Arc<dyn Host>) -> Result<Arc<Loaded>, Refusal> {
        let mut registrar = Registrar::new(table.clone(), Arc::clone(&host));
        let registered = std::panic::catch_unwind(AssertUnwindSafe(|| self.plugin.register(&mut registrar)));
        match registered {
            Ok(Ok(())) => Ok(Loaded::new(self, table, host, registrar.finish())),
            Ok(Err(error)) => Err(Refusal::Refused(error)),
            Err(panic) => {
                Err(Refusal::Panicked(panics::caught_in(&self.manifest.name, &"register", &*panic)))
            }
        }
    }
}

/// Why a plugin did not register.
#[derive(Debug)]
pub enum Refusal {
    /// It said so.
    Refused(Error),
    /// It panicked; the log has it under the reference in this.
    Panicked(Error),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(error) => write!(f, "the plugin refuses: {}", error.text()),
            Self::Panicked(_) => f.write_str("the plugin panicked while it registered"),
        }
    }
}
