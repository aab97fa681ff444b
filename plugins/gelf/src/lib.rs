//! Logs on their way to Graylog, or to whatever else takes GELF.
//!
//! ```toml
//! [service.main]
//! plugins = ["gelf"]
//!
//! [service.main.plugin.gelf]
//! server = "udp://graylog.example.com:12201"
//! ```
//!
//! A record is made into a GELF 1.1 message (`record`) where it is logged, and put into a queue for each server
//! (`outlet`, `queue`). A task for each server sends it (`sender`, `transport`), with a spool on disk between the two
//! where one is configured (`spool`).

mod backoff;
mod chunk;
mod compress;
mod config;
mod meters;
mod outlet;
mod queue;
mod recent;
mod record;
mod sender;
mod server;
mod service;
mod sink;
mod spool;
mod transport;

use std::sync::Arc;

use jackfield_plugin_api::{Error, Manifest, Plugin, Registrar, Result, manifest, register_plugin};

use crate::{
    config::{Config, Settings},
    outlet::Outlet,
    server::Scheme,
    service::Sending,
    sink::{OwnSink, SessionSink},
};

/// The plugin `gelf`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gelf;

register_plugin!(Gelf);

impl Plugin for Gelf {
    fn manifest(&self) -> Manifest {
        manifest!("gelf").about("Sends logs to Graylog, or whatever else takes GELF.").config::<Config>()
    }

    fn register(&self, registrar: &mut Registrar) -> Result<()> {
        let settings = Arc::new(registrar.config::<Config>()?.settings()?);
        check_tls(&settings)?;
        let outlet =
            |server: &server::Server| Arc::new(Outlet::new(server.clone(), &settings, registrar.host()));
        let outlets: Arc<[Arc<Outlet>]> = settings.servers.iter().map(outlet).collect();
        registrar.log_sink(SessionSink { outlets: Arc::clone(&outlets) });
        if let Some(host) = settings.broker_log.clone() {
            registrar.broker_log_sink(OwnSink { outlets: Arc::clone(&outlets), host });
        }
        registrar.service(Sending { outlets, settings });
        Ok(())
    }
}

/// A file that is missing or wrong is a mistake in the configuration.
fn check_tls(settings: &Settings) -> Result<()> {
    let is_tls = |server: &server::Server| matches!(server.scheme, Scheme::Tls | Scheme::Https);
    if settings.servers.iter().any(is_tls) {
        transport::check(&settings.tls).map_err(Error::invalid_value)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
