use jackfield_plugin_api::{Command, Context, NoArguments, Result, SessionRef};

use crate::Provided;

inventory::submit!(Provided(command));

fn command() -> Command {
    Command::define("core", "registry", "unregister_authenticator")
        .about("Asks this session about logins no more.")
        .ordered()
        .handler(unregister)
}

async fn unregister(cx: Context, _: NoArguments) -> Result<()> {
    cx.host().unregister_authenticator(SessionRef::of(cx.caller())?)
}

#[cfg(test)]
mod tests {
    use crate::tests::{harness, powerful_session};

    #[tokio::test]
    async fn it_takes_back_what_was_registered_and_is_no_error_twice() {
        let harness = harness();
        let admin = powerful_session();
        harness.call_as(&admin, "core", "registry", "register_authenticator", "{}").await.unwrap();
        assert_eq!(harness.session_authenticators().len(), 1);
        for _ in 0..2 {
            harness.call("core", "registry", "unregister_authenticator", "{}").await.unwrap();
            assert!(harness.session_authenticators().is_empty());
        }
    }
}
