//! Every command of a service, whoever provides it, in one immutable table that is swapped as a whole.

mod snapshot;

use std::sync::Arc;

use arc_swap::ArcSwap;
use jackfield_plugin_api::schema::DataSchema;
use jackfield_plugin_api::{Action, Command, CommandInfo, CommandKey, Error, Host};

pub use snapshot::{Chain, Snapshot};

/// A plugin, as its commands know it.
pub struct Provider {
    /// Its name.
    pub name: Box<str>,
    /// Its view of the broker.
    pub host: Arc<dyn Host>,
}

/// One command of one plugin.
pub struct Entry {
    /// The definition.
    pub command: Command,
    /// Its names, to be shared by requests.
    pub key: Arc<CommandKey>,
    /// Its data's schema, ready for checking.
    pub schema: DataSchema,
    /// Who provides it.
    pub provider: Arc<Provider>,
    /// What is asked for before it is used; a wildcard entry asks for what the caller wrote instead.
    permission: Option<Action>,
}

impl Entry {
    /// Makes a command ready.
    ///
    /// # Errors
    /// A schema that is none.
    pub fn new(command: Command, provider: Arc<Provider>) -> Result<Self, Error> {
        let schema = DataSchema::compile(&command.data_schema)?;
        let key = Arc::new(command.key.clone());
        let permission = (!is_wildcard(&key)).then(|| Action::Command(command.key.clone()));
        Ok(Self { command, key, schema, provider, permission })
    }

    /// The permission for a request that was written as `class/subclass/cmd`.
    pub fn permission(&self, written: &CommandKey) -> std::borrow::Cow<'_, Action> {
        match &self.permission {
            Some(action) => std::borrow::Cow::Borrowed(action),
            None => std::borrow::Cow::Owned(Action::Command(written.clone())),
        }
    }

    /// What the registry tells of it.
    pub fn info(&self) -> CommandInfo {
        let key = &self.command.key;
        CommandInfo {
            class: key.class.to_string(),
            subclass: key.subclass.to_string(),
            cmd: key.cmd.to_string(),
            aliases: self.command.aliases.iter().map(ToString::to_string).collect(),
            description: self.command.about.clone(),
            plugin: self.provider.name.to_string(),
            permission: format!("command:{key}"),
            data_schema: self.command.data_schema.clone(),
            reply_schema: self.command.reply_schema.clone(),
        }
    }
}

/// Whether a key takes more than one command.
pub fn is_wildcard(key: &CommandKey) -> bool {
    &*key.subclass == "*" || &*key.cmd == "*"
}

/// The table in force.
pub struct Registry {
    snapshot: ArcSwap<Snapshot>,
}

impl Registry {
    /// A table without commands.
    pub fn new() -> Self {
        Self { snapshot: ArcSwap::from_pointee(Snapshot::default()) }
    }

    /// Puts another table in force: requests under way keep what they have looked up.
    pub fn replace(&self, snapshot: Snapshot) {
        self.snapshot.store(Arc::new(snapshot));
    }

    /// The handlers for a command, first asked first.
    pub fn lookup(&self, class: &str, subclass: &str, cmd: &str) -> Option<Arc<Chain>> {
        self.snapshot.load().lookup(class, subclass, cmd).cloned()
    }

    /// Every command, each with the plugin that is asked first.
    pub fn commands(&self) -> Vec<CommandInfo> {
        self.snapshot.load().commands()
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}
