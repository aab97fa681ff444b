use std::time::Duration;

use jackfield_plugin_api::{
    Action, AuthenticatorRegistration, Command, CommandKey, Context, Error, Result, SessionRef,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::Provided;

inventory::submit!(Provided(command));

fn command() -> Command {
    Command::define("core", "registry", "register_authenticator")
        .about("Has this session asked about logins that no plugin accepts or rejects.")
        .ordered()
        .handler(register)
}

#[derive(Deserialize, JsonSchema)]
struct Args {
    /// How many seconds a login waits for the verdict; then it is rejected.
    #[serde(default = "five")]
    #[schemars(range(min = 0.01, max = 60.0))]
    deadline: f64,
}

fn five() -> f64 {
    5.0
}

async fn register(cx: Context, args: Args) -> Result<()> {
    // The command under which the session is asked.
    cx.authorize(Action::Register(CommandKey::new("core", "user", "authenticate"))).await?;
    let deadline =
        Duration::try_from_secs_f64(args.deadline).map_err(|_| Error::invalid_value("deadline"))?;
    let registration = AuthenticatorRegistration { deadline };
    cx.host().register_authenticator(SessionRef::of(cx.caller())?, registration)
}

#[cfg(test)]
mod tests {
    use jackfield_plugin_api::ErrorCode;

    use super::*;
    use crate::tests::{harness, powerful_session};

    #[tokio::test]
    async fn it_needs_a_permission_of_its_own_and_a_deadline_that_makes_sense() {
        let harness = harness();
        let error = harness.call("core", "registry", "register_authenticator", "{}").await.unwrap_err();
        assert!(error.is(ErrorCode::Unauthorized));
        let admin = powerful_session();
        for deadline in ["0", "-1", "61"] {
            let data = format!(r#"{{"deadline":{deadline}}}"#);
            let error = harness
                .call_as(&admin, "core", "registry", "register_authenticator", &data)
                .await
                .unwrap_err();
            assert_eq!(error.text(), "Invalid value: deadline");
        }
        let data = r#"{"deadline":2.5}"#;
        harness.call_as(&admin, "core", "registry", "register_authenticator", data).await.unwrap();
        assert_eq!(harness.session_authenticators()[0].1.deadline, Duration::from_millis(2500));
    }
}
