//! The commands of the broker itself, class `core`, as a plugin that uses nothing but the plugin API.
//!
//! One command, one file. A new one needs its file and its `mod` line here: the file submits its command, and the
//! plugin registers whatever was submitted.

mod user {
    mod get;
    mod list;
    mod login;
    mod send_event;
}

mod session {
    mod cmd;
    mod log;
    mod send_event;
    mod stop;
}

mod event {
    mod get_subscriptions;
    mod permit;
    mod send_event;
    mod subscribe;
    mod unsubscribe;
}

mod registry {
    mod describe;
    mod list;
    mod register;
    mod register_authenticator;
    mod unregister;
    mod unregister_authenticator;
}

mod plugin {
    mod list;
    mod load;
    mod reload;
    mod unload;
}

mod broker {
    mod event;
    mod ping;
}

use jackfield_plugin_api::{
    Command, ErrorCode, Manifest, Plugin, Registrar, Result, SessionId, manifest, register_plugin,
};

/// The plugin `core`, which every service has.
#[derive(Clone, Copy, Debug, Default)]
pub struct Core;

register_plugin!(Core);

impl Plugin for Core {
    fn manifest(&self) -> Manifest {
        manifest!("core").about("The broker's own commands: users, sessions, events, the registry.")
    }

    fn register(&self, registrar: &mut Registrar) -> Result<()> {
        for command in commands() {
            registrar.command(command);
        }
        Ok(())
    }
}

/// A command of this plugin, as its file submits it.
struct Provided(fn() -> Command);

inventory::collect!(Provided);

fn commands() -> Vec<Command> {
    let mut commands: Vec<_> =
        inventory::iter::<Provided>.into_iter().map(|Provided(command)| command()).collect();
    commands.sort_by(|one, other| one.key.cmp(&other.key));
    commands
}

/// What an absent field of an event is on the wire.
fn any() -> String {
    "*".into()
}

/// The subclass of a request that names none.
fn core_subclass() -> String {
    "core".into()
}

/// The id of a session that may be live. An id that none can have is as unknown as one that none has.
fn session_id(text: &str) -> Result<SessionId> {
    SessionId::new(text).map_err(|_| ErrorCode::SessionNotFound.into())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jackfield_plugin_api::{
        Caller,
        testing::{Harness, SESSION, USER},
    };

    use super::*;

    /// The plugin with its one session, `test-session` of `tester`.
    pub(crate) fn harness() -> Harness {
        Harness::new(Core).unwrap()
    }

    /// The harness's session, with an administrator's powers.
    pub(crate) fn powerful_session() -> Arc<Caller> {
        let session = jackfield_plugin_api::testing::session(USER, SESSION).unwrap();
        jackfield_plugin_api::testing::administrator(&session)
    }

    /// Somebody who may do everything.
    pub(crate) fn administrator() -> Arc<Caller> {
        let session = jackfield_plugin_api::testing::session("admin", "admin-session").unwrap();
        jackfield_plugin_api::testing::administrator(&session)
    }

    #[test]
    fn all_commands_are_there() {
        let names: Vec<_> = commands().iter().map(|command| command.key.to_string()).collect();
        let expected = [
            "core/core/event",
            "core/core/ping",
            "core/event/get_subscriptions",
            "core/event/send_event",
            "core/event/subscribe",
            "core/event/unsubscribe",
            "core/plugin/list",
            "core/plugin/load",
            "core/plugin/reload",
            "core/plugin/unload",
            "core/registry/describe",
            "core/registry/list",
            "core/registry/register",
            "core/registry/register_authenticator",
            "core/registry/unregister",
            "core/registry/unregister_authenticator",
            "core/session/cmd",
            "core/session/log",
            "core/session/send_event",
            "core/session/stop",
            "core/user/get",
            "core/user/list",
            "core/user/login",
            "core/user/send_event",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn commands_describe_themselves() {
        for command in commands() {
            assert!(command.about.ends_with('.'), "{}", command.key);
            assert_eq!(command.data_schema["type"], "object", "{}", command.key);
            assert!(command.reply_schema.is_object(), "{}", command.key);
            let properties = command.data_schema["properties"].as_object();
            for (name, schema) in properties.into_iter().flatten() {
                assert!(schema["description"].is_string(), "{} {name}", command.key);
            }
        }
    }
}
