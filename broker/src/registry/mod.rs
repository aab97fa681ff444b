//! Every command of a service, whoever provides it, in one immutable table that is swapped as a whole.

mod snapshot;

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwap;
use jackfield_plugin_api::schema::DataSchema;
use jackfield_plugin_api::{Action, Command, CommandInfo, CommandKey, Error, Host};
use parking_lot::Mutex;

use snapshot::Change;
pub use snapshot::{Chain, Snapshot};

/// A plugin, as its commands know it.
pub struct Provider {
    /// Its name.
    pub name: Box<str>,
    /// Its view of the broker.
    pub host: Arc<dyn Host>,
}

/// One command of one plugin, or of one session.
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
        Ok(Self::with_schema(command, schema, provider))
    }

    /// The same with a schema that is ready.
    pub fn with_schema(command: Command, schema: DataSchema, provider: Arc<Provider>) -> Self {
        let key = Arc::new(command.key.clone());
        let permission = (!is_wildcard(&key)).then(|| Action::Command(command.key.clone()));
        Self { command, key, schema, provider, permission }
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
    /// The entries of sessions, one a triple, which outlive a change of plugins. Held while a table is put in force.
    of_sessions: Mutex<BTreeMap<Arc<CommandKey>, Arc<Entry>>>,
}

impl Registry {
    /// A table without commands.
    pub fn new() -> Self {
        Self { snapshot: ArcSwap::from_pointee(Snapshot::default()), of_sessions: Mutex::default() }
    }

    /// Puts another table of the plugins' commands in force, with those of sessions behind them: requests under way
    /// keep what they have looked up.
    pub fn replace(&self, plugins: Snapshot) {
        let of_sessions = self.of_sessions.lock();
        let added = of_sessions.values().map(|entry| Change { before: None, after: Some(Arc::clone(entry)) });
        let table = if of_sessions.is_empty() { plugins } else { plugins.changed(added) };
        self.snapshot.store(Arc::new(table));
    }

    /// Sets what sessions provide under these triples, `None` for nothing any more. The table is built once for all.
    pub fn set_of_sessions(&self, entries: impl IntoIterator<Item = (Arc<CommandKey>, Option<Arc<Entry>>)>) {
        let mut of_sessions = self.of_sessions.lock();
        let mut changes = Vec::new();
        for (key, after) in entries {
            let before = match &after {
                Some(entry) => of_sessions.insert(key, Arc::clone(entry)),
                None => of_sessions.remove(&key),
            };
            changes.push(Change { before, after });
        }
        self.snapshot.store(Arc::new(self.snapshot.load().changed(changes)));
    }

    /// Whether a plugin provides this very triple, be it under another name of a command's.
    pub fn is_of_plugin(&self, key: &CommandKey) -> bool {
        let of_sessions = self.of_sessions.lock();
        let own = self.snapshot.load().count(key);
        own > usize::from(of_sessions.contains_key(key))
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
