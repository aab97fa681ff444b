//! What a library would be, without its being put in force.

use std::{path::Path, sync::Arc};

use jackfield_plugin_api::{CommandInfo, Host, PluginInfo};
use serde_json::Value;

use super::Service;
use crate::{
    config::{Config, ConfigError, PluginRef},
    host::{Describe, PluginHost},
    plugin::{self, Loaded, Origin, Overlay, Wanted},
};

/// What a library is and registers.
#[derive(Debug)]
pub struct Inspection {
    /// What `core plugin list` would tell.
    pub plugin: PluginInfo,
    /// Its commands.
    pub commands: Vec<CommandInfo>,
    /// What it was built with.
    pub toolchain: String,
    /// The version of the ABI that it speaks.
    pub abi: (u32, u32),
    /// The SHA-256 sum of its file.
    pub sha256: String,
    /// What its table must look like, where it has one.
    pub config_schema: Option<Value>,
}

impl Service {
    /// Loads a library and has it register. None of its handlers is called, and nothing of it is started.
    pub(crate) fn inspect(&self, path: &Path, config: &Config) -> Result<Inspection, Vec<ConfigError>> {
        let host = |plugin: &str| -> Arc<dyn Host> {
            Arc::new(PluginHost::new(plugin, Arc::clone(&self.facilities)))
        };
        let overlay = Overlay::default();
        let wanted = Wanted { config, service: &self.name, overlay: &overlay, previous: &[], host: &host };
        let loaded = plugin::load_alone(&wanted, &PluginRef::Library(path.to_owned()))?;
        self.inspection(&loaded)
    }

    fn inspection(&self, loaded: &Loaded) -> Result<Inspection, Vec<ConfigError>> {
        let entries = loaded.entries().map_err(|error| self.plugin_problem(loaded, &error))?;
        let (toolchain, abi, sha256) = match &loaded.origin {
            Origin::Library(opened) => {
                let library = &opened.library;
                (library.toolchain().to_owned(), library.abi_version(), opened.content.to_string())
            }
            Origin::Builtin => Default::default(),
        };
        Ok(Inspection {
            plugin: loaded.describe(),
            commands: entries.iter().map(crate::registry::Entry::info).collect(),
            toolchain,
            abi,
            sha256,
            config_schema: loaded.manifest.config_schema.clone(),
        })
    }
}
