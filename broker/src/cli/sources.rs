//! The options that say where the configuration comes from.

use std::fmt;
use std::path::PathBuf;

use clap::Args;

use crate::config::{Config, ConfigErrors, Sources};

/// Where the configuration comes from. Later ones win: defaults, FILE, `JACKFIELD_…` variables, then these options.
#[derive(Clone, Args)]
pub(super) struct SourceArgs {
    /// The configuration file, TOML
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// An address to listen on (ws://, wss://, tcp://, tls://); replaces service main's list
    #[arg(long, value_name = "URL")]
    listen: Vec<String>,
    /// A plugin: a built-in's name or a library's path; replaces service main's list
    #[arg(long = "plugin", value_name = "NAME|PATH")]
    plugins: Vec<String>,
    /// Sets one key of the configuration: limits.inflight=64. Texts and times are taken as written, others read as TOML
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl SourceArgs {
    /// Reads the configuration.
    pub(super) fn load(&self) -> Result<Config, ConfigErrors> {
        Config::load(&Sources {
            file: self.config.clone(),
            environment: std::env::vars_os().collect(),
            set: self.set.clone(),
            listen: self.listen.clone(),
            plugins: self.plugins.clone(),
        })
    }
}

/// Without the values of `--set`, which may be secrets.
impl fmt::Debug for SourceArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceArgs").field("config", &self.config).finish_non_exhaustive()
    }
}
