use jackfield_plugin_api::{Command, Context, Result};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::Provided;

inventory::submit!(Provided(command));

fn command() -> Command {
    Command::define("core", "plugin", "unload")
        .about("Unloads a plugin: no new request reaches it, those under way finish, then it is stopped.")
        .handler(unload)
}

#[derive(Deserialize, JsonSchema)]
struct Args {
    /// The plugin's name.
    name: String,
}

async fn unload(cx: Context, args: Args) -> Result<()> {
    cx.host().unload_plugin(&args.name).await
}

#[cfg(test)]
mod tests {
    use jackfield_plugin_api::{ErrorCode, testing::PluginChange};

    use crate::tests::{administrator, harness};

    #[tokio::test]
    async fn the_core_stays() {
        let (harness, admin) = (harness(), administrator());
        for (name, code) in [("core", ErrorCode::InvalidOperation), ("gelf", ErrorCode::PluginUnavailable)] {
            let data = format!(r#"{{"name":"{name}"}}"#);
            let error = harness.call_as(&admin, "core", "plugin", "unload", &data).await.unwrap_err();
            assert!(error.is(code), "{error}");
        }
        assert!(harness.plugin_changes().is_empty());
        harness.call_as(&admin, "core", "plugin", "load", r#"{"name":"gelf"}"#).await.unwrap();
        harness.call_as(&admin, "core", "plugin", "unload", r#"{"name":"gelf"}"#).await.unwrap();
        assert_eq!(harness.plugin_changes().last(), Some(&PluginChange::Unload("gelf".into())));
    }

    #[tokio::test]
    async fn no_default_policy_gives_it() {
        let error = harness().call("core", "plugin", "unload", r#"{"name":"gelf"}"#).await.unwrap_err();
        assert!(error.is(ErrorCode::Unauthorized));
    }
}
