use jackfield_plugin_api::{Command, Context, Result};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::Provided;

inventory::submit!(Provided(command));

fn command() -> Command {
    Command::define("core", "core", "ping")
        .about("Answers, which shows that the broker is there. Needs no login.")
        .handler(ping)
}

#[derive(Deserialize, JsonSchema)]
struct Args {
    /// After how many seconds the next ping is to be expected.
    #[serde(rename = "time")]
    _time: Option<f64>,
}

async fn ping(_cx: Context, _: Args) -> Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use jackfield_plugin_api::testing::anonymous;

    use crate::tests::harness;

    #[tokio::test]
    async fn anybody_may_ping() {
        let harness = harness();
        for data in ["{}", r#"{"time":60}"#, r#"{"time":0.5}"#] {
            let answer = harness.call_as(&anonymous(), "core", "core", "ping", data).await.unwrap();
            assert_eq!(answer.as_str(), "{}");
            harness.call("core", "core", "ping", data).await.unwrap();
        }
    }
}
