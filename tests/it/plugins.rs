//! `core plugin load`, `unload` and `reload`: plugins that come and go while the broker runs.

mod builtin;
mod foreign;
mod library;
mod misbehaviour;
mod offload;
mod refused;
mod reloads;
mod tools;

use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Broker, Client, Options, fixture_library};

/// A broker with the fixture as a library, before `auth-open`.
async fn with_library() -> Broker {
    Broker::start(Options::default().plugins(&[text(&fixture_library()), "auth-open"])).await
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

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
