use std::sync::Arc;

use jackfield_plugin_api::{Command, CommandKey, Context, ErrorCode, RawJson, Relay, Result, SessionRequest};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{Provided, core_subclass, session_id};

inventory::submit!(Provided(command));

fn command() -> Command {
    Command::define("core", "session", "cmd")
        .about("Sends a request to a session and hands back its answer.")
        .keeps_own_time()
        .relay(cmd)
}

#[derive(Deserialize, JsonSchema)]
struct Args {
    /// To which session.
    session_id: String,
    /// The class of the request. `core` is for administrators.
    class: String,
    /// Its subclass.
    #[serde(default = "core_subclass")]
    subclass: String,
    /// Its command.
    cmd: String,
    /// Its data.
    #[serde(default)]
    data: RawJson,
}

fn cmd(cx: &Context, args: Args) -> Result<Relay> {
    // protocol.md §4: with class `core` a caller would speak as the broker.
    if args.class == "core" && !cx.caller().is_trusted() {
        return Err(ErrorCode::Unauthorized.into());
    }
    let request = SessionRequest {
        command: CommandKey {
            class: args.class.into(),
            subclass: args.subclass.into(),
            cmd: args.cmd.into(),
        },
        data: args.data,
        from: Some(Arc::clone(cx.caller())),
        relay_acks: None,
    };
    Ok(Relay { session: session_id(&args.session_id)?, request })
}

#[cfg(test)]
mod tests {
    use jackfield_plugin_api::{
        Error,
        testing::{Harness, SESSION, administrator, session},
    };

    use super::*;
    use crate::tests::harness;

    fn with_other() -> Harness {
        let harness = harness();
        harness.add_session(session("ann", "s1").unwrap()).unwrap();
        harness
    }

    #[tokio::test]
    async fn the_answer_comes_back_as_it_was_written() {
        let harness = with_other();
        harness.on_request(|_, request| {
            request.relay_acks.as_ref().unwrap().ack();
            Ok(request.data.clone())
        });
        let data = r#"{"session_id":"s1","class":"app","cmd":"do","data":{"n": 1e999}}"#;
        let answer = harness.call("core", "session", "cmd", data).await.unwrap();
        assert_eq!(answer.as_str(), r#"{"n": 1e999}"#);
        assert_eq!(harness.acks(), 1);
        let sent = &harness.requests()[0];
        assert_eq!(
            (sent.session_id.as_str(), sent.request.command.to_string().as_str()),
            ("s1", "app/core/do")
        );
        let from = sent.request.from.as_ref().unwrap().identity().unwrap();
        assert_eq!(from.session_id.as_str(), SESSION);
    }

    #[tokio::test]
    async fn the_targets_error_comes_back() {
        let harness = with_other();
        harness.on_request(|_, _| Err(Error::custom(200_007, "no").with_details(1)));
        let data = r#"{"session_id":"s1","class":"app","cmd":"do"}"#;
        let error = harness.call("core", "session", "cmd", data).await.unwrap_err();
        assert_eq!(error.to_json().as_str(), r#"{"code":200007,"details":1,"error":"no"}"#);
    }

    #[tokio::test]
    async fn class_core_is_for_administrators() {
        let harness = with_other();
        harness.on_request(|_, _| Ok(RawJson::empty()));
        let data = r#"{"session_id":"s1","class":"core","cmd":"ping"}"#;
        let error = harness.call("core", "session", "cmd", data).await.unwrap_err();
        assert!(error.is(ErrorCode::Unauthorized));
        let administrator = administrator(&session("ann", "s1").unwrap());
        harness.call_as(&administrator, "core", "session", "cmd", data).await.unwrap();
    }

    #[tokio::test]
    async fn checks_come_in_their_order() {
        for (data, text) in [
            (r#"{"session_id":"s9","class":"app"}"#, "Missing field: cmd"),
            (r#"{"session_id":"s9","class":"core","cmd":"x"}"#, "Unauthorized"),
            (r#"{"session_id":"s9","class":"app","cmd":"x"}"#, "Session not found"),
        ] {
            let error = with_other().call("core", "session", "cmd", data).await.unwrap_err();
            assert_eq!(error.text(), text);
        }
    }
}
