//! Run: `cargo run --example filter_plugin -- run --plugin auth-open --plugin mask --set 'service.main.plugin.mask.keys=["card"]'`
//! Try: `cargo run -- listen shop --user ann`, and beside it `cargo run -- call core/event/send_event '{"class":"shop","body":{"card":"4111","paid":1.50}}' --user bob`
//!
//! An event filter: fields of event bodies that the configuration names arrive as `"***"`. The other fields keep
//! the very text that the sender wrote.

use jackfield_plugin_api::{
    Event, EventFilter, Filtered, Manifest, Plugin, RawJson, RawObject, Registrar, Result, manifest,
    register_plugin,
};
use schemars::JsonSchema;
use serde::Deserialize;

struct Mask;

register_plugin!(Mask);

#[derive(Deserialize, JsonSchema)]
struct Config {
    /// The fields to mask, at the top of a body.
    #[serde(default)]
    keys: Vec<String>,
}

impl Plugin for Mask {
    fn manifest(&self) -> Manifest {
        manifest!("mask").about("Masks fields of event bodies.").config::<Config>()
    }

    fn register(&self, registrar: &mut Registrar) -> Result<()> {
        let Config { keys } = registrar.config()?;
        registrar.event_filter(Masking { keys, masked: RawJson::from_value(&"***")? });
        Ok(())
    }
}

struct Masking {
    keys: Vec<String>,
    masked: RawJson,
}

impl EventFilter for Masking {
    fn fired(&self, event: &Event) -> Filtered {
        // A body may be any JSON; one that is no object has no fields to mask.
        let Ok(mut body) = RawObject::parse(&event.body) else { return Filtered::Pass };
        let found: Vec<_> = self.keys.iter().filter(|key| body.get(key).is_some()).collect();
        if found.is_empty() {
            return Filtered::Pass;
        }
        for key in found {
            body.insert(key.as_str(), self.masked.clone());
        }
        Filtered::Replace(Event { body: body.to_json(), ..event.clone() })
    }
}

fn main() -> std::process::ExitCode {
    jackfield::cli::main()
}
