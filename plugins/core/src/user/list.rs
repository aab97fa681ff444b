use std::collections::BTreeMap;

use jackfield_plugin_api::{Command, Context, NoArguments, Result, SessionId, UserId};

use crate::Provided;

inventory::submit!(Provided(command));

fn command() -> Command {
    Command::define("core", "user", "list").about("Lists the users and their sessions.").handler(list)
}

async fn list(cx: Context, _: NoArguments) -> Result<BTreeMap<UserId, Vec<SessionId>>> {
    Ok(cx.host().users())
}

#[cfg(test)]
mod tests {
    use jackfield_plugin_api::testing::session;

    use crate::tests::harness;

    #[tokio::test]
    async fn users_stand_with_their_sessions() {
        let harness = harness();
        for id in ["s1", "s2"] {
            harness.add_session(session("ann", id).unwrap()).unwrap();
        }
        let users = harness.call("core", "user", "list", "{}").await.unwrap();
        assert_eq!(users.as_str(), r#"{"ann":["s1","s2"],"tester":["test-session"]}"#);
    }
}
