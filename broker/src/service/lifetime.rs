//! A plugin's services, from its start to its end.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::{FutureExt, future::join_all};
use jackfield_plugin_api::{RawJson, Service as PluginService, Topic};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::TaskTracker;

use super::Runtime;
use crate::{
    lifecycle::Sessions,
    plugin::{Loaded, State},
    telemetry::panics,
};

/// How often is looked whether a plugin that is to go is still at work: soon at first, then less often.
const LOOKS: [Duration; 2] = [Duration::from_millis(2), Duration::from_millis(50)];

pub(super) fn start_services(runtime: &Runtime, sessions: &Arc<Sessions>, plugin: &Arc<Loaded>) {
    for service in &plugin.registered.services {
        let run = run_service(Arc::clone(service), Arc::clone(plugin), Arc::clone(sessions));
        runtime.services.spawn(plugin.running.track_future(run));
    }
}

async fn run_service(service: Arc<dyn PluginService>, plugin: Arc<Loaded>, sessions: Arc<Sessions>) {
    let (name, host) = (plugin.name(), Arc::clone(&plugin.provider.host));
    let run = AssertUnwindSafe(service.run(host, plugin.stop.clone())).catch_unwind();
    let Some(ended) = plugin.abandon.run_until_cancelled(run).await else {
        return tracing::warn!(plugin = name, "a plugin's service did not end in time");
    };
    let error = match ended {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error,
        Err(panic) => panics::caught_in(name, &"service", &*panic),
    };
    plugin.set_state(State::Failed);
    tracing::error!(plugin = name, %error, "a plugin's service failed");
    failed(&sessions, name, error.text());
}

/// Tells when a plugin is quarantined.
pub(super) fn watch(sessions: &Arc<Sessions>, plugin: &Loaded) {
    let Some(health) = plugin.health() else { return };
    let (sessions, name) = (Arc::downgrade(sessions), plugin.name().to_owned());
    health.on_quarantine(move |reason| {
        tracing::error!(plugin = name, reason, "a plugin was quarantined");
        if let Some(sessions) = sessions.upgrade() {
            failed(&sessions, &name, reason);
        }
    });
}

fn failed(sessions: &Sessions, plugin: &str, error: &str) {
    let body = RawJson::from_value(&serde_json::json!({ "error": error })).unwrap_or_default();
    sessions.notify(Topic::new("core", "plugin", "failed", plugin), body);
}

/// Starts a plugin's services when those that are leaving have ended: a new one may want the port of an old one. Where
/// that is another plugin it is a guess, and not waited for as long as requests may take.
pub(super) async fn start_after(
    runtime: Arc<Runtime>,
    sessions: Arc<Sessions>,
    plugin: Arc<Loaded>,
    leaving: Vec<(String, TaskTracker)>,
) {
    let drain = runtime.shared.settings.load().timeouts.drain;
    let (own, others): (Vec<_>, Vec<_>) = leaving.iter().partition(|(name, _)| name == plugin.name());
    let ended = |leaving: Vec<&(String, TaskTracker)>| {
        join_all(
            leaving.into_iter().map(|(_, running)| running.clone()).map(async |running| running.wait().await),
        )
    };
    // The others may go on; then the new one may fail, and says so.
    tokio::join!(ended(own), timeout(drain, ended(others))).1.ok();
    // It may be leaving itself by now.
    if !plugin.stop.is_requested() {
        start_services(&runtime, &sessions, &plugin);
    }
}

/// Ends a plugin that nothing new reaches any more.
pub(super) async fn retire(runtime: Arc<Runtime>, plugin: Arc<Loaded>) {
    let timeouts = runtime.shared.settings.load().timeouts.clone();
    // protocol.md §6: requests under way finish, at most `timeouts.handler`. At the broker's end they have had theirs.
    let finished = runtime.stop_services.run_until_cancelled(timeout(timeouts.handler, idle(&plugin))).await;
    if matches!(finished, Some(Err(_))) {
        tracing::warn!(
            plugin = plugin.name(),
            "requests under way did not finish before their plugin stopped"
        );
    }
    plugin.stop.request_within(timeouts.drain);
    plugin.running.close();
    if timeout(timeouts.drain, plugin.running.wait()).await.is_err() {
        plugin.abandon.cancel();
    }
    let (name, version) = (plugin.manifest.name.clone(), plugin.manifest.version.clone());
    // What it does when it goes is its own business, and may take time.
    tokio::task::spawn_blocking(move || drop(plugin)).await.ok();
    tracing::info!(plugin = name, version, "a plugin was stopped");
}

async fn idle(plugin: &Loaded) {
    let [soon, later] = LOOKS;
    let started = Instant::now();
    while !plugin.is_idle() {
        sleep(if started.elapsed() < later { soon } else { later }).await;
    }
}
