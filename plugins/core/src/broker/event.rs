use jackfield_plugin_api::{Command, Context, Event, RawJson, Result, ServiceScope, Topic};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{Provided, any};

inventory::submit!(Provided(command));

fn command() -> Command {
    Command::define("core", "core", "event")
        .about("Offers an event to the plugins' event filters. It is not forwarded.")
        .handler(event)
}

#[derive(Deserialize, JsonSchema)]
struct Args {
    /// The event's class.
    class: String,
    /// Its subclass; `*` for none.
    #[serde(default = "any")]
    subclass: String,
    /// Its type; `*` for none.
    #[serde(rename = "type", default = "any")]
    kind: String,
    /// The object it is about; `*` for none.
    #[serde(default = "any")]
    obj_id: String,
    /// What it says.
    #[serde(default)]
    body: RawJson,
    /// The service it belongs to.
    service: Option<String>,
}

async fn event(cx: Context, args: Args) -> Result<()> {
    let event = Event {
        topic: Topic::new(args.class, args.subclass, args.kind, args.obj_id),
        service: ServiceScope::from_wire(args.service.as_deref()),
        body: args.body,
    };
    cx.host().received(&event, cx.caller());
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use jackfield_plugin_api::{
        Caller, Event, EventFilter, Filtered, Manifest, Plugin, Registrar, Result, testing::Harness,
    };
    use serde_json::json;

    use crate::Core;

    #[derive(Clone, Default)]
    struct Witness(Arc<Mutex<Vec<String>>>);

    impl Plugin for Witness {
        fn manifest(&self) -> Manifest {
            Manifest::new("witness", "1.0.0")
        }

        fn register(&self, registrar: &mut Registrar) -> Result<()> {
            registrar.event_filter(self.clone());
            Ok(())
        }
    }

    impl EventFilter for Witness {
        fn fired(&self, _: &Event) -> Filtered {
            Filtered::Pass
        }

        fn received(&self, event: &Event, from: &Caller) {
            let user = &from.identity().unwrap().user;
            self.0.lock().unwrap().push(format!("{user} {}", event.topic.fields().join("/")));
        }
    }

    #[tokio::test]
    async fn filters_see_the_event_and_nobody_else() {
        let witness = Witness::default();
        let harness = Harness::with(&json!({}), vec![Arc::new(Core), Arc::new(witness.clone())]).unwrap();
        let answer = harness.call("core", "core", "event", r#"{"class":"a","type":"b"}"#).await.unwrap();
        assert_eq!(answer.as_str(), "{}");
        assert_eq!(*witness.0.lock().unwrap(), ["tester a/*/b/*"]);
        assert!(harness.published().is_empty());
    }
}
