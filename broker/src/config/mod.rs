//! What the broker is told to do: the configuration file, the environment and the command line, as one [`Config`].
//!
//! Layers are merged into one tree whose leaves know where they come from, and the tree is read once into types. All
//! that is wrong is reported together, each with file, line, key, what was expected and the nearest key.

mod address;
mod checks;
mod duration;
mod error;
mod excerpt;
mod layers;
mod limits;
mod location;
mod positions;
mod read;
mod section;
mod service;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::BTreeMap;
use std::path::PathBuf;

pub use address::{AddressError, HttpAddress, ListenUrl, Scheme};
pub use duration::{DurationError, parse_duration, render_duration};
pub use error::{ConfigError, ConfigErrors};
pub use layers::Sources;
pub use limits::{Limits, Timeouts};
pub use location::Location;
pub use service::{
    DefaultPolicy, PluginRef, PluginTables, RuleConfig, ServiceConfig, TlsConfig, UnknownPolicy,
};

use positions::{Positions, Schema};
use read::{Reader, named, optional, parsed, path};
use section::{Section, read_section, section};

section! {
    /// The whole configuration.
    #[derive(Debug, Clone)]
    pub struct Config {
        /// The services, by name.
        pub services @ "service": BTreeMap<String, ServiceConfig> = main_service(), named(read_section::<ServiceConfig>);
        /// Metrics and health over HTTP.
        pub admin: AdminConfig = AdminConfig::default(), read_section::<AdminConfig>;
        /// What clients may use.
        pub limits: Limits = Limits::default(), read_section::<Limits>;
        /// How long the broker waits.
        pub timeouts: Timeouts = Timeouts::default(), read_section::<Timeouts>;
        /// Where plugins' stored state lives; in memory when unset.
        pub data_dir: Option<PathBuf> = None, optional(path);
    }
    with /// Where each key was set.
    positions: Positions;
}

section! {
    /// `[admin]`: metrics and health over HTTP.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct AdminConfig {
        /// The address to serve on; off when unset.
        pub listen: Option<HttpAddress> = None, optional(parsed::<HttpAddress>);
    }
}

impl Section for AdminConfig {}

/// Service `main` with its defaults: what runs where no service is configured.
fn main_service() -> BTreeMap<String, ServiceConfig> {
    BTreeMap::from([("main".to_owned(), ServiceConfig::default())])
}

impl Config {
    /// Merges the layers (defaults, file, environment, `--set`, `--listen` and `--plugin`: later ones win) and reads the
    /// result.
    ///
    /// # Errors
    /// All that is wrong, together. Files of passwords and certificates must be there.
    pub fn load(sources: &Sources) -> Result<Self, ConfigErrors> {
        let (root, mut problems) = match sources.merged() {
            Ok(merged) => merged,
            Err(problems) => return ConfigErrors::none_in(problems, Self::default()),
        };
        let mut reader = Reader::default();
        let mut config = read_section::<Self>(&root, &mut reader).unwrap_or_default();
        config.positions = Positions::from(&root);
        problems.extend(reader.into_problems());
        ConfigErrors::none_in(problems, config)
    }

    /// Where the key at `path` was set; list items count from `"0"`. Where it was not, the nearest table above it that
    /// was; none for a default.
    #[must_use]
    pub fn locate(&self, path: &[&str]) -> Option<&Location> {
        self.positions.locate(path)
    }

    /// A plugin's table for a service (empty where there is none), ready to be checked against the plugin's JSON Schema:
    /// what the environment or `--set` wrote is a string where the schema wants one, even if it looks like a number.
    #[must_use]
    pub fn plugin_table(&self, service: &str, plugin: &str, schema: &serde_json::Value) -> serde_json::Value {
        let table = self.services.get(service).and_then(|service| service.plugin_tables.get(plugin));
        let mut table = table.cloned().unwrap_or_else(|| serde_json::Value::Object(serde_json::Map::new()));
        if let Some(positions) = self.positions.find(&["service", service, "plugin", plugin]) {
            positions.restore_strings(&mut table, &Schema::new(schema));
        }
        table
    }
}
