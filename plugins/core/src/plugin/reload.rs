use jackfield_plugin_api::{Command, Context, PluginInfo, Result};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::Provided;

inventory::submit!(Provided(command));

fn command() -> Command {
    Command::define("core", "plugin", "reload")
        .about(
            "Loads a plugin anew and puts it in the place of the loaded one; no request fails because of it.",
        )
        .handler(reload)
}

#[derive(Deserialize, JsonSchema)]
struct Args {
    /// The plugin's name.
    name: String,
    /// The plugin's table; without it the plugin keeps the one it has.
    config: Option<Map<String, Value>>,
}

async fn reload(cx: Context, args: Args) -> Result<PluginInfo> {
    cx.host().reload_plugin(&args.name, args.config.map(Value::Object)).await
}

#[cfg(test)]
mod tests {
    use jackfield_plugin_api::{ErrorCode, testing::PluginChange};
    use serde_json::json;

    use crate::tests::{administrator, harness};

    #[tokio::test]
    async fn one_that_is_loaded() {
        let (harness, admin) = (harness(), administrator());
        let data = r#"{"name":"core","config":{"a":1}}"#;
        harness.call_as(&admin, "core", "plugin", "reload", data).await.unwrap();
        let expected = PluginChange::Reload("core".into(), Some(json!({"a": 1})));
        assert_eq!(harness.plugin_changes(), [expected]);
        let other = r#"{"name":"gelf"}"#;
        let error = harness.call_as(&admin, "core", "plugin", "reload", other).await.unwrap_err();
        assert!(error.is(ErrorCode::PluginUnavailable));
    }

    #[tokio::test]
    async fn no_default_policy_gives_it() {
        let error = harness().call("core", "plugin", "reload", r#"{"name":"core"}"#).await.unwrap_err();
        assert!(error.is(ErrorCode::Unauthorized));
    }
}
