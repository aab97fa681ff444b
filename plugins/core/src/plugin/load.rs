use jackfield_plugin_api::{Command, Context, Error, ErrorCode, PluginInfo, PluginSource, Result};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::Provided;

inventory::submit!(Provided(command));

fn command() -> Command {
    Command::define("core", "plugin", "load")
        .about("Loads a plugin while the broker runs: one that is built in, by its name, or a library, by its path.")
        .handler(load)
}

#[derive(Deserialize, JsonSchema)]
struct Args {
    /// The name of a plugin that is built in, or that was unloaded.
    name: Option<String>,
    /// The path of a library; a relative one is relative to the broker's working directory.
    path: Option<String>,
    /// The plugin's table, in place of the one in the configuration file.
    config: Option<Map<String, Value>>,
}

async fn load(cx: Context, args: Args) -> Result<PluginInfo> {
    let source = match (args.name, args.path) {
        (Some(name), None) => PluginSource::Name(name),
        (None, Some(path)) => PluginSource::Path(path),
        (None, None) => return Err(Error::missing_field("name")),
        (Some(_), Some(_)) => {
            return Err(Error::about(ErrorCode::InvalidParameters, "either name or path, not both"));
        }
    };
    cx.host().load_plugin(source, args.config.map(Value::Object)).await
}

#[cfg(test)]
mod tests {
    use jackfield_plugin_api::{ErrorCode, PluginSource, testing::PluginChange};
    use serde_json::{Value, json};

    use crate::tests::{administrator, harness};

    #[tokio::test]
    async fn by_name_or_by_path() {
        let harness = harness();
        let admin = administrator();
        let data = r#"{"name":"gelf","config":{"a":1}}"#;
        let info = harness.call_as(&admin, "core", "plugin", "load", data).await.unwrap();
        assert_eq!(info.parse::<Value>().unwrap()["name"], "gelf");
        harness.call_as(&admin, "core", "plugin", "load", r#"{"path":"./libx.so"}"#).await.unwrap();
        let expected = [
            PluginChange::Load(PluginSource::Name("gelf".into()), Some(json!({"a": 1}))),
            PluginChange::Load(PluginSource::Path("./libx.so".into()), None),
        ];
        assert_eq!(harness.plugin_changes(), expected);
    }

    #[tokio::test]
    async fn one_of_both_is_wanted() {
        let (harness, admin) = (harness(), administrator());
        let error = harness.call_as(&admin, "core", "plugin", "load", "{}").await.unwrap_err();
        assert_eq!(error.text(), "Missing field: name");
        let both = r#"{"name":"a","path":"b"}"#;
        let error = harness.call_as(&admin, "core", "plugin", "load", both).await.unwrap_err();
        assert!(error.is(ErrorCode::InvalidParameters));
        assert!(harness.plugin_changes().is_empty());
    }

    #[tokio::test]
    async fn no_default_policy_gives_it() {
        let harness = harness();
        let error = harness.call("core", "plugin", "load", r#"{"name":"gelf"}"#).await.unwrap_err();
        assert!(error.is(ErrorCode::Unauthorized));
    }
}
