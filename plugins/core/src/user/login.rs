use jackfield_plugin_api::{
    Answer, Command, Context, Error, EventMode, Login, Outcome, Password, RawJson, RawObject, Request,
    Result, UserId,
    command::{read_arguments, schema_of},
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use crate::Provided;

inventory::submit!(Provided(command));

fn command() -> Command {
    let reply = json!({
        "type": "object",
        "properties": { "session_id": { "type": "string", "description": "The session's id." } },
        "required": ["session_id"],
        "additionalProperties": true,
    });
    Command::define("core", "user", "login")
        .about("Logs the connection in, which makes it a session.")
        .data_schema(schema_of::<Args>())
        .reply_schema(reply)
        .unrestricted()
        .raw_handler(login)
}

/// The fields that have a meaning; all others are kept as they are.
#[derive(Deserialize, JsonSchema)]
#[schemars(extend("additionalProperties" = true))]
struct Args {
    /// Who logs in. Needed unless an authenticator finds it out from a token or a certificate.
    user: Option<String>,
    /// The password.
    password: Option<String>,
    /// Another name for `password`.
    pass: Option<String>,
    /// The id that the session is to have: 1 to 128 printable ASCII characters without space. Generated if absent.
    session_id: Option<String>,
    /// Kept with the session.
    #[serde(default)]
    meta: RawObject,
    /// How events reach the session: `ack` with a `tid`, to be answered; `push` without one.
    #[serde(default)]
    events: EventMode,
    /// Whether events and requests that reach the session tell who sent them, in `from`.
    #[serde(default)]
    identify: bool,
}

impl Args {
    const FIELDS: [&str; 7] = ["user", "password", "pass", "session_id", "meta", "events", "identify"];
}

async fn login(cx: Context, request: Request) -> Outcome {
    let login = read(&request.data)?;
    drop(request);
    Ok(Answer::Reply(cx.login(login).await?.to_json()))
}

fn read(data: &RawJson) -> Result<Login> {
    let args: Args = read_arguments(data)?;
    let mut fields = RawObject::parse(data).map_err(Error::syntax)?;
    fields.retain(|name, _| !Args::FIELDS.contains(&name));
    Ok(Login {
        user: args.user.as_deref().map(UserId::new).transpose()?,
        password: args.password.or(args.pass).as_deref().map(Password::new),
        session_id: args.session_id,
        meta: args.meta,
        events: args.events,
        identify: args.identify,
        fields,
    })
}

#[cfg(test)]
mod tests {
    use jackfield_plugin_api::{ErrorCode, testing::anonymous};

    use super::*;
    use crate::tests::harness;

    fn login_of(data: &'static str) -> Login {
        read(&RawJson::from_text(data).unwrap()).unwrap()
    }

    #[test]
    fn fields_are_told_apart_and_keep_their_text() {
        let login = login_of(
            r#"{"user":"ann","pass":"x","session_id":"s","meta":{"a":1.50},"events":"push","identify":true,
                "device":{"n":1e999},"token":"t"}"#,
        );
        assert_eq!(login.user.unwrap().as_str(), "ann");
        assert_eq!(login.password.unwrap().expose(), "x");
        assert_eq!(login.session_id.unwrap(), "s");
        assert_eq!(login.meta.to_json().as_str(), r#"{"a":1.50}"#);
        assert_eq!((login.events, login.identify), (EventMode::Push, true));
        assert_eq!(login.fields.to_json().as_str(), r#"{"device":{"n":1e999},"token":"t"}"#);
    }

    #[test]
    fn known_fields_are_those_of_the_schema() {
        let schema = schema_of::<Args>();
        let mut known: Vec<_> =
            schema["properties"].as_object().unwrap().keys().map(String::as_str).collect();
        let mut fields = Args::FIELDS;
        known.sort_unstable();
        fields.sort_unstable();
        assert_eq!(known, fields);
    }

    #[tokio::test]
    async fn bad_data_is_named() {
        let harness = harness();
        let anonymous = anonymous();
        for (data, text) in [
            (r#"{"user":1}"#, "Syntax error: user"),
            (r#"{"user":""}"#, "Invalid value: user"),
            (r#"{"user":"a","meta":[]}"#, "Syntax error: meta"),
            (r#"{"user":"a","events":"never"}"#, "Invalid value: events"),
            (r#"{"user":"a","identify":"yes"}"#, "Syntax error: identify"),
            ("{}", "Missing field: user"),
        ] {
            let error = harness.call_as(&anonymous, "core", "user", "login", data).await.unwrap_err();
            assert_eq!(error.text(), text, "{data}");
        }
    }

    #[tokio::test]
    async fn nobody_to_accept_it_is_unauthorized() {
        let data = r#"{"user":"ann","password":"x"}"#;
        let error = harness().call_as(&anonymous(), "core", "user", "login", data).await.unwrap_err();
        assert!(error.is(ErrorCode::Unauthorized));
    }

    #[tokio::test]
    async fn a_session_cannot_log_in_again() {
        let error = harness().call("core", "user", "login", r#"{"user":"ann"}"#).await.unwrap_err();
        assert!(error.is(ErrorCode::AlreadyAuthenticated));
    }
}
