//! protocol.md §6: the registry, and what the plugins behind it may do.

mod chain;
mod failures;
mod host;
mod plugins;

use serde_json::{Value, json};

use crate::support::sources::{files, read, repository};
use crate::support::{Broker, Client, Options, Transport, code, on_both};

/// The core's commands that protocol.md describes.
const CORE: [&str; 24] = [
    "core/core/event",
    "core/core/ping",
    "core/event/get_subscriptions",
    "core/event/send_event",
    "core/event/subscribe",
    "core/event/unsubscribe",
    "core/plugin/list",
    "core/plugin/load",
    "core/plugin/reload",
    "core/plugin/unload",
    "core/registry/describe",
    "core/registry/list",
    "core/registry/register",
    "core/registry/register_authenticator",
    "core/registry/unregister",
    "core/registry/unregister_authenticator",
    "core/session/cmd",
    "core/session/log",
    "core/session/send_event",
    "core/session/stop",
    "core/user/get",
    "core/user/list",
    "core/user/login",
    "core/user/send_event",
];

async fn list(client: &mut Client, data: Value) -> Vec<Value> {
    client.ok("core/registry/list", data).await.as_array().expect("a list").clone()
}

fn triple(entry: &Value) -> String {
    let part =
        |name: &str| entry[name].as_str().unwrap_or_else(|| panic!("no {name} in {entry}")).to_string();
    format!("{}/{}/{}", part("class"), part("subclass"), part("cmd"))
}

async fn with_ann(transport: Transport) -> (Broker, Client) {
    let broker = Broker::start(Options::fixture()).await;
    let ann = broker.login(transport, "ann").await;
    (broker, ann)
}

#[tokio::test]
async fn every_command_is_listed_once() {
    on_both(async |transport| {
        let (_broker, mut ann) = with_ann(transport).await;
        let entries = list(&mut ann, json!({})).await;
        let mut triples: Vec<String> = entries.iter().map(triple).collect();
        for wanted in CORE {
            assert!(triples.iter().any(|found| found == wanted), "{wanted} is not in {triples:?}");
        }
        let count = triples.len();
        triples.sort();
        triples.dedup();
        assert_eq!(triples.len(), count, "a command is listed twice");
        for entry in &entries {
            let plugin = if entry["class"] == "core" { "core" } else { "fixture" };
            assert_eq!(entry["plugin"], plugin, "{entry}");
            assert!(entry["description"].as_str().is_some_and(|text| !text.is_empty()), "{entry}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_list_may_be_of_one_class_or_subclass() {
    on_both(async |transport| {
        let (_broker, mut ann) = with_ann(transport).await;
        let all = list(&mut ann, json!({})).await;
        for data in [
            json!({"class": "core"}),
            json!({"class": "core", "subclass": "user"}),
            json!({"subclass": "core"}),
            json!({"class": "fixture-wild"}),
        ] {
            let fits =
                |entry: &&Value| data.as_object().unwrap().iter().all(|(name, value)| entry[name] == *value);
            let expected: Vec<&Value> = all.iter().filter(fits).collect();
            let found = list(&mut ann, data.clone()).await;
            assert!(!found.is_empty(), "{data}");
            assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{data}");
        }
        for data in [json!({"class": "nothing"}), json!({"class": "core", "subclass": "nothing"})] {
            assert_eq!(list(&mut ann, data).await, [] as [Value; 0]);
        }
    })
    .await;
}

#[tokio::test]
async fn every_command_is_described() {
    on_both(async |transport| {
        let (_broker, mut ann) = with_ann(transport).await;
        for entry in list(&mut ann, json!({})).await {
            let data = json!({"class": entry["class"], "subclass": entry["subclass"], "cmd": entry["cmd"]});
            let described = ann.ok("core/registry/describe", data).await;
            for (name, value) in entry.as_object().unwrap() {
                assert_eq!(described[name], *value, "{described}");
            }
            assert_eq!(described["permission"], json!(format!("command:{}", triple(&entry))));
            for schema in ["data_schema", "reply_schema"] {
                assert!(described[schema].is_object() || described[schema].is_boolean(), "{described}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_description_tells_what_data_must_look_like() {
    on_both(async |transport| {
        let (_broker, mut ann) = with_ann(transport).await;
        let typed = ann.ok("core/registry/describe", json!({"class": "fixture", "cmd": "typed"})).await;
        assert_eq!(triple(&typed), "fixture/core/typed", "the subclass is core where it is left out");
        let schema = &typed["data_schema"];
        assert_eq!(schema["required"], json!(["name"]));
        let properties = schema["properties"].as_object().expect("properties");
        assert_eq!(properties.len(), 4, "{schema}");
        let count = &properties["count"];
        assert_eq!(
            (&count["minimum"], &count["maximum"], &count["default"]),
            (&json!(1), &json!(10), &json!(3))
        );
        assert_eq!(properties["kind"]["default"], "a");

        let data = json!({"class": "core", "subclass": "session", "cmd": "cmd"});
        let schema = ann.ok("core/registry/describe", data).await["data_schema"].take();
        let mut required: Vec<&str> =
            schema["required"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
        required.sort_unstable();
        assert_eq!(required, ["class", "cmd", "session_id"]);
    })
    .await;
}

#[tokio::test]
async fn another_name_is_described_by_the_main_one() {
    on_both(async |transport| {
        let (_broker, mut ann) = with_ann(transport).await;
        let data = json!({"class": "core", "subclass": "event", "cmd": "send"});
        let described = ann.ok("core/registry/describe", data).await;
        assert_eq!(described["permission"], "command:core/event/send_event");
    })
    .await;
}

#[tokio::test]
async fn what_is_not_there_cannot_be_described() {
    on_both(async |transport| {
        let (_broker, mut ann) = with_ann(transport).await;
        for (class, subclass, cmd) in [
            ("nothing", "core", "x"),
            ("core", "nothing", "list"),
            ("core", "user", "nothing"),
            ("core", "*", "*"),
        ] {
            let error = ann
                .err("core/registry/describe", json!({"class": class, "subclass": subclass, "cmd": cmd}))
                .await;
            let text = format!("Unknown command '{class}/{subclass}/{cmd}'");
            assert_eq!(error, (code::UNKNOWN_COMMAND, text));
        }
        let error = ann.err("core/registry/describe", json!({"class": "core", "cmd": "list"})).await;
        assert_eq!(error.1, "Unknown command 'core/core/list'");
    })
    .await;
}

/// A stranger's command in the core comes with a test, or this one fails.
#[tokio::test]
async fn every_core_command_is_named_by_a_test() {
    let (_broker, mut ann) = with_ann(Transport::Ws).await;
    let tests: String = files(&repository("tests/it"), ".rs").iter().map(|file| read(file)).collect();
    for entry in list(&mut ann, json!({"class": "core"})).await {
        let name = triple(&entry);
        let uses = tests.matches(&format!("\"{name}\"")).count();
        let listed_above = usize::from(CORE.contains(&name.as_str()));
        assert!(uses > listed_above, "no test names {name}");
    }
}
