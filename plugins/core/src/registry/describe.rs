use jackfield_plugin_api::{Command, CommandInfo, CommandKey, Context, Error, Result};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{Provided, core_subclass};

inventory::submit!(Provided(command));

fn command() -> Command {
    Command::define("core", "registry", "describe")
        .about("Tells all about a command: what it takes, what it answers, which permission it needs.")
        .handler(describe)
}

#[derive(Deserialize, JsonSchema)]
struct Args {
    /// The command's class.
    class: String,
    /// Its subclass.
    #[serde(default = "core_subclass")]
    subclass: String,
    /// Its name.
    cmd: String,
}

async fn describe(cx: Context, args: Args) -> Result<CommandInfo> {
    let key = CommandKey::new(&args.class, &args.subclass, &args.cmd);
    cx.host().command(&key).ok_or_else(|| Error::unknown_command(&key))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use crate::tests::harness;

    #[tokio::test]
    async fn an_alias_leads_to_its_command() {
        let data = r#"{"class":"core","subclass":"event","cmd":"send"}"#;
        let info = harness().call("core", "registry", "describe", data).await.unwrap();
        let info: Value = info.parse().unwrap();
        assert_eq!((&info["cmd"], &info["plugin"]), (&"send_event".into(), &"core".into()));
        assert_eq!(info["permission"], "command:core/event/send_event");
        assert_eq!(info["data_schema"]["properties"]["type"]["default"], "*");
        assert_eq!(info["reply_schema"]["type"], "object");
    }

    #[tokio::test]
    async fn what_is_not_there_is_unknown() {
        let data = r#"{"class":"core","cmd":"fly"}"#;
        let error = harness().call("core", "registry", "describe", data).await.unwrap_err();
        assert_eq!(error.text(), "Unknown command 'core/core/fly'");
    }
}
