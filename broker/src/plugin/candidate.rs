use std::{fmt, panic::AssertUnwindSafe, path::Path, sync::Arc};

use jackfield_plugin_api::{Error, Host, Manifest, Plugin, Registrar, ffi::host::Health};
use serde_json::Value;

use super::{Loaded, Origin, builtin, library};
use crate::{config::PluginRef, telemetry::panics};

/// A plugin that was found and says what it is, and that nothing has been asked of yet.
pub struct Candidate {
    /// How it is listed.
    pub reference: PluginRef,
    /// What it says of itself.
    pub manifest: Manifest,
    pub(super) origin: Origin,
    pub(super) health: Option<Arc<Health>>,
    plugin: Arc<dyn Plugin>,
}

/// Why there is no such plugin.
#[derive(Debug, thiserror::Error)]
pub enum Missing {
    /// No plugin of this name is built in.
    #[error("expected the name of a plugin that is built in, found '{0}'")]
    Unknown(String),
    /// The library cannot be loaded.
    #[error(transparent)]
    Library(#[from] library::LibraryError),
    /// The library does not say what it is.
    #[error("the library {path} cannot be loaded: {reason}")]
    Broken {
        /// The library.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// The library's plugin has the name of one that is built in.
    #[error("the library {path} is a plugin '{name}', and one of that name is built in")]
    NameTaken {
        /// The library.
        path: String,
        /// The name.
        name: String,
    },
}

impl Candidate {
    /// Finds a plugin. Of libraries only those with one of the `allowed` SHA-256 sums, where there are any.
    ///
    /// # Errors
    /// Why there is none.
    pub fn find(reference: &PluginRef, allowed: &[String]) -> Result<Self, Missing> {
        match reference {
            PluginRef::Builtin(name) => Self::builtin(reference, name),
            PluginRef::Library(path) => Self::in_library(reference, path, allowed),
        }
    }

    fn builtin(reference: &PluginRef, name: &str) -> Result<Self, Missing> {
        let builtin = builtin().get(name).ok_or_else(|| Missing::Unknown(name.to_owned()))?;
        let plugin = (builtin.make)();
        let (reference, manifest) = (reference.clone(), plugin.manifest());
        Ok(Self { reference, manifest, origin: Origin::Builtin, health: None, plugin })
    }

    fn in_library(reference: &PluginRef, path: &Path, allowed: &[String]) -> Result<Self, Missing> {
        let opened = library::open(path, allowed)?;
        let path = || path.display().to_string();
        let plugin = opened
            .library
            .plugin()
            .map_err(|error| Missing::Broken { path: path(), reason: error.text().to_owned() })?;
        let manifest = plugin.manifest();
        if builtin().contains_key(&manifest.name) {
            return Err(Missing::NameTaken { path: path(), name: manifest.name });
        }
        Ok(Self {
            reference: reference.clone(),
            manifest,
            origin: Origin::Library(Box::new(opened)),
            health: Some(plugin.health()),
            plugin: Arc::new(plugin),
        })
    }

    /// Has it register all it has.
    ///
    /// # Errors
    /// Its own refusal, or that it panicked.
    pub fn register(&self, table: Value, host: Arc<dyn Host>) -> Result<Arc<Loaded>, Refusal> {
        let mut registrar = Registrar::new(table.clone(), Arc::clone(&host));
        let registered = std::panic::catch_unwind(AssertUnwindSafe(|| self.plugin.register(&mut registrar)));
        match registered {
            Ok(Ok(())) => Ok(Loaded::new(self, table, host, registrar.finish())),
            Ok(Err(error)) => Err(Refusal::Refused(error)),
            Err(panic) => Err(Refusal::Panicked {
                error: panics::caught_in(&self.manifest.name, &"register", &*panic),
                message: panics::message(&*panic).to_owned(),
            }),
        }
    }
}

/// Why a plugin did not register.
#[derive(Debug)]
pub enum Refusal {
    /// It said so.
    Refused(Error),
    /// It panicked.
    Panicked {
        /// What a client is told: the reference under which the log has it.
        error: Error,
        /// What the operator is told.
        message: String,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(error) => write!(f, "the plugin refuses: {}", error.text()),
            Self::Panicked { message, .. } => {
                write!(f, "the plugin panicked while it registered: {message}")
            }
        }
    }
}
