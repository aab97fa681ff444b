//! The plugin `fixture` as a library.

#[path = "../fixture/basics.rs"]
mod basics;
#[path = "../fixture/chain.rs"]
mod chain;
#[path = "../fixture/events.rs"]
mod events;
#[path = "../fixture/host.rs"]
mod host;
#[path = "../fixture/login.rs"]
mod login;
#[path = "../fixture/plugin.rs"]
mod plugin;
#[path = "../fixture/policy.rs"]
mod policy;
#[path = "../fixture/trouble.rs"]
mod trouble;
#[path = "../fixture/watch.rs"]
mod watch;

use jackfield_plugin_api::export_plugin;
use plugin::{Count, Fixture, State};

export_plugin!(Fixture);
