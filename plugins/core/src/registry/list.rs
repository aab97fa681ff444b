use jackfield_plugin_api::{Command, CommandInfo, Context, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Provided;

inventory::submit!(Provided(command));

fn command() -> Command {
    Command::define("core", "registry", "list").about("Lists the commands that can be used.").handler(list)
}

#[derive(Deserialize, JsonSchema)]
struct Args {
    /// Only those of this class.
    class: Option<String>,
    /// Only those of this subclass.
    subclass: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct Listed {
    /// The command's class.
    class: String,
    /// Its subclass, `*` for any.
    subclass: String,
    /// Its name, `*` for any.
    cmd: String,
    /// What it does.
    description: String,
    /// Who provides it.
    plugin: String,
}

async fn list(cx: Context, args: Args) -> Result<Vec<Listed>> {
    let fits = |wanted: &Option<String>, value: &String| wanted.as_ref().is_none_or(|wanted| wanted == value);
    let mut commands = cx.host().commands();
    commands.retain(|info| fits(&args.class, &info.class) && fits(&args.subclass, &info.subclass));
    commands.sort_by(|one, other| names(one).cmp(&names(other)));
    Ok(commands.into_iter().map(Listed::from).collect())
}

fn names(info: &CommandInfo) -> [&str; 3] {
    [&info.class, &info.subclass, &info.cmd]
}

impl From<CommandInfo> for Listed {
    fn from(info: CommandInfo) -> Self {
        let CommandInfo { class, subclass, cmd, description, plugin, .. } = info;
        Self { class, subclass, cmd, description, plugin }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::tests::harness;

    async fn list(data: &str) -> Vec<Value> {
        harness().call("core", "registry", "list", data).await.unwrap().parse().unwrap()
    }

    #[tokio::test]
    async fn commands_are_sorted_and_filtered() {
        let all = list("{}").await;
        let names: Vec<_> =
            all.iter().map(|info| format!("{}{}{}", info["class"], info["subclass"], info["cmd"])).collect();
        assert!(names.is_sorted() && names.len() > 10);
        assert!(list(r#"{"class":"other"}"#).await.is_empty());
        let expected = json!({
            "class": "core", "subclass": "plugin", "cmd": "list", "plugin": "core",
            "description": "Lists the service's plugins, first asked first."
        });
        let plugin = list(r#"{"class":"core","subclass":"plugin"}"#).await;
        assert_eq!((plugin.len(), &plugin[0]), (4, &expected));
    }
}
