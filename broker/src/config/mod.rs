//! What the broker is told to do: the configuration file, the environment and the command line, as one [`Config`].
//!
//! Layers are merged into one tree whose leaves know where they come from, and the tree is read once into types. All
//! that is wrong is reported together, each with file, line, key, what was expected and the nearest key.

mod address;
mod duration;
mod limits;
mod read;
mod section;
mod service;
mod tree;

use std::collections::BTreeMap;
use std::path::PathBuf;

pub use address::{AddressError, HttpAddress, ListenUrl, Scheme};
pub use duration::{DurationError, parse_duration, render_duration};
pub use limits::{Limits, Timeouts};
pub use section::Key;
pub use service::{DefaultPolicy, PluginRef, PluginTables, RuleConfig, ServiceConfig, TlsConfig};

use read::{named, optional, parsed, path};
use section::{Section, read_section, section};
use tree::Positions;

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
