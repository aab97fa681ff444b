use std::collections::BTreeMap;

use jackfield_plugin_api::{Command, Context, ErrorCode, RawObject, Result, SessionId, SessionInfo, UserId};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::Provided;

inventory::submit!(Provided(command));

fn command() -> Command {
    Command::define("core", "user", "get").about("Tells of a user's sessions.").handler(get)
}

#[derive(Deserialize, JsonSchema)]
struct Args {
    /// Who.
    user: String,
}

async fn get(cx: Context, args: Args) -> Result<BTreeMap<SessionId, RawObject>> {
    let user = UserId::new(&args.user).map_err(|_| ErrorCode::UserNotFound)?;
    let sessions = cx.host().user_sessions(&user);
    if sessions.is_empty() {
        return Err(ErrorCode::UserNotFound.into());
    }
    sessions.into_iter().map(|session| Ok((session.session_id.clone(), describe(&session)?))).collect()
}

fn describe(session: &SessionInfo) -> Result<RawObject> {
    let mut object = RawObject::default();
    object.set("type", &"api_server")?;
    object.set("remote", &session.remote)?;
    for (name, value) in session.metadata.iter().filter(|(name, _)| !matches!(*name, "type" | "remote")) {
        object.insert(name, value.clone());
    }
    Ok(object)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jackfield_plugin_api::{ErrorCode, RawJson, RawObject, testing::session};

    use crate::tests::harness;

    #[tokio::test]
    async fn metadata_stands_beside_type_and_remote() {
        let harness = harness();
        let login = r#"{"type":"mine","device":1.50,"remote":"here","meta":{"a":[]}}"#;
        let metadata = RawObject::parse(&RawJson::from_text(login).unwrap()).unwrap();
        let session = session("ann", "s1").unwrap();
        harness
            .add_session(jackfield_plugin_api::SessionInfo { metadata: Arc::new(metadata), ..session })
            .unwrap();
        let sessions = harness.call("core", "user", "get", r#"{"user":"ann"}"#).await.unwrap();
        let expected = r#"{"s1":{"type":"api_server","remote":"test:1","device":1.50,"meta":{"a":[]}}}"#;
        assert_eq!(sessions.as_str(), expected);
    }

    #[tokio::test]
    async fn a_user_without_sessions_is_not_found() {
        for data in [r#"{"user":"nobody"}"#, r#"{"user":""}"#] {
            let error = harness().call("core", "user", "get", data).await.unwrap_err();
            assert!(error.is(ErrorCode::UserNotFound), "{data}");
        }
    }
}
