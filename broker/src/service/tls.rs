//! A service's certificates: from the configuration, and followed as their files change.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::Service;
use crate::{
    config::{Config, ConfigError, ServiceConfig},
    transport::tls::{FileProblem, Look, Material},
};

/// How often the files are looked at. A look reads them whole, so it does not matter in what way they are replaced.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What the handshakes of a configuration go by; `None` where it has no TLS.
pub(super) fn material(
    config: &Config,
    name: &str,
    own: &ServiceConfig,
) -> Result<Option<Material>, Vec<ConfigError>> {
    let Some(tls) = &own.tls else { return without_tls(config, name, own) };
    let wrong = |problem: FileProblem| {
        let location = config.locate(&["service", name, "tls", problem.key]).cloned();
        vec![ConfigError::new(location, format!("service.{name}.tls.{}", problem.key), problem.to_string())]
    };
    Material::load(tls).map(Some).map_err(wrong)
}

fn without_tls(
    config: &Config,
    name: &str,
    own: &ServiceConfig,
) -> Result<Option<Material>, Vec<ConfigError>> {
    let Some(url) = own.listen.iter().find(|url| url.scheme.is_encrypted()) else { return Ok(None) };
    let location = config.locate(&["service", name, "listen"]).cloned();
    let message = format!("{}:// needs the service's tls table, with certificate and key", url.scheme);
    Err(vec![ConfigError::new(location, format!("service.{name}.listen"), message)])
}

impl Service {
    /// Looks at the TLS files from time to time, off the runtime's threads, until the broker stops.
    pub(super) fn watch_tls(self: &Arc<Self>) {
        if self.tls.current().is_none() {
            return;
        }
        let service = Arc::clone(self);
        let stop = self.runtime.stop_accepting.clone();
        self.runtime.tasks.spawn(async move {
            stop.run_until_cancelled(async {
                loop {
                    tokio::time::sleep(LOOK_EVERY).await;
                    service.look_at_tls().await;
                }
            })
            .await;
        });
    }

    async fn look_at_tls(&self) {
        let keeper = Arc::clone(&self.tls);
        match tokio::task::spawn_blocking(move || keeper.look()).await {
            Ok(Look::Renewed) => {
                tracing::info!(service = %self.name, "new TLS files are in use for new connections");
                if let Some(warning) = self.tls_warning() {
                    tracing::warn!(service = %self.name, "{warning}");
                }
            }
            Ok(Look::Bad(FileProblem { key, path, reason })) => tracing::error!(
                service = %self.name, key, file = %path.display(), reason,
                "a new TLS file cannot be used; the old ones stay in use"
            ),
            Ok(Look::Unchanged) | Err(_) => {}
        }
    }

    /// What is odd about the certificate in force.
    pub(super) fn tls_warning(&self) -> Option<String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
        let expired = self.tls.current()?.expires()? < now;
        expired.then(|| format!("service.{}.tls.certificate: the certificate has expired", self.name))
    }
}
