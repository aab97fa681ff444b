use jackfield_plugin_api::{Command, Context, Error, Result, UserId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Provided, session_id};

inventory::submit!(Provided(command));

fn command() -> Command {
    Command::define("core", "session", "stop")
        .about("Ends a session and closes its connection once what is queued for it is written.")
        .handler(stop)
}

#[derive(Deserialize, JsonSchema)]
struct Args {
    /// Which one; the caller's own if absent.
    session_id: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct Stopped {
    /// Whose session it was.
    user: UserId,
}

async fn stop(cx: Context, args: Args) -> Result<Stopped> {
    let own = cx.caller().identity();
    let named = args.session_id.as_deref();
    match (named, own) {
        (None, None) => Err(Error::missing_field("session_id")),
        (Some(id), Some(own)) if id != own.session_id.as_str() => stop_other(&cx, id),
        (Some(id), None) => stop_other(&cx, id),
        (_, Some(own)) => {
            cx.end_session()?;
            Ok(Stopped { user: own.user.clone() })
        }
    }
}

fn stop_other(cx: &Context, id: &str) -> Result<Stopped> {
    Ok(Stopped { user: cx.host().stop_session(&session_id(id)?)? })
}

#[cfg(test)]
mod tests {
    use jackfield_plugin_api::{ErrorCode, testing::session};

    use crate::tests::harness;

    #[tokio::test]
    async fn another_session_ends() {
        let harness = harness();
        harness.add_session(session("ann", "s1").unwrap()).unwrap();
        let answer = harness.call("core", "session", "stop", r#"{"session_id":"s1"}"#).await.unwrap();
        assert_eq!(answer.as_str(), r#"{"user":"ann"}"#);
        assert_eq!(harness.host().users().len(), 1);
    }

    #[tokio::test]
    async fn the_callers_own_ends_after_the_answer() {
        for data in ["{}", r#"{"session_id":"test-session"}"#] {
            let harness = harness();
            let answer = harness.call("core", "session", "stop", data).await.unwrap();
            assert_eq!(answer.as_str(), r#"{"user":"tester"}"#);
            assert!(harness.host().users().is_empty());
        }
    }

    #[tokio::test]
    async fn an_unknown_one_is_not_found() {
        for data in [r#"{"session_id":"s9"}"#, r#"{"session_id":"no id"}"#] {
            let error = harness().call("core", "session", "stop", data).await.unwrap_err();
            assert!(error.is(ErrorCode::SessionNotFound), "{data}");
        }
    }
}
