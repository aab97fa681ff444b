use jackfield_plugin_api::{Command, Context, NoArguments, PluginInfo, Result};

use crate::Provided;

inventory::submit!(Provided(command));

fn command() -> Command {
    Command::define("core", "plugin", "list")
        .about("Lists the service's plugins, first asked first.")
        .handler(list)
}

async fn list(cx: Context, _: NoArguments) -> Result<Vec<PluginInfo>> {
    Ok(cx.host().plugins())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use crate::tests::harness;

    #[tokio::test]
    async fn the_core_is_there() {
        let plugins = harness().call("core", "plugin", "list", "{}").await.unwrap();
        let plugins: Vec<Value> = plugins.parse().unwrap();
        assert_eq!((plugins.len(), &plugins[0]["name"]), (1, &"core".into()));
        assert!(plugins[0]["commands"].as_array().unwrap().contains(&"core/plugin/list".into()));
    }
}
