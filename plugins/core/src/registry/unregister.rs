use jackfield_plugin_api::{Command, CommandKey, Context, Result, SessionRef};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{Provided, any};

inventory::submit!(Provided(command));

fn command() -> Command {
    Command::define("core", "registry", "unregister")
        .about("Ends a registration of this session; what it was sent, it still answers.")
        .ordered()
        .handler(unregister)
}

#[derive(Deserialize, JsonSchema)]
struct Args {
    /// The class, as it was registered.
    class: String,
    /// The subclass.
    #[serde(default = "any")]
    subclass: String,
    /// The command.
    #[serde(default = "any")]
    cmd: String,
}

async fn unregister(cx: Context, args: Args) -> Result<()> {
    let key = CommandKey::new(&args.class, &args.subclass, &args.cmd);
    cx.host().unregister(SessionRef::of(cx.caller())?, &key)
}

#[cfg(test)]
mod tests {
    use crate::tests::{harness, powerful_session};

    #[tokio::test]
    async fn it_takes_back_what_was_registered_and_is_no_error_twice() {
        let harness = harness();
        let admin = powerful_session();
        let data = r#"{"class":"weather"}"#;
        harness.call_as(&admin, "core", "registry", "register", data).await.unwrap();
        assert!(harness.serves("weather", "forecast", "get"));
        for _ in 0..2 {
            harness.call("core", "registry", "unregister", data).await.unwrap();
            assert!(!harness.serves("weather", "forecast", "get"));
        }
    }
}
