//! `core plugin load`, `unload` and `reload`: plugins that come and go while the broker runs.

mod builtin;

use serde_json::{Value, json};

use crate::support::Client;

/// What `core plugin list` tells of one plugin; `None` where it is not loaded.
async fn listed(client: &mut Client, name: &str) -> Option<Value> {
    let plugins = client.ok("core/plugin/list", json!({})).await;
    plugins.as_array().unwrap().iter().find(|plugin| plugin["name"] == name).cloned()
}

/// The names of the plugins, first asked first.
async fn names(client: &mut Client) -> Vec<String> {
    let plugins = client.ok("core/plugin/list", json!({})).await;
    plugins.as_array().unwrap().iter().map(|plugin| plugin["name"].as_str().unwrap().into()).collect()
}
