use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::{Equivalent, HashMap, HashSet};
use jackfield_plugin_api::{CommandInfo, CommandKey};

use super::{Entry, is_wildcard};

/// The handlers that one command is offered to, first asked first.
pub struct Chain {
    /// Those that registered it, in plugin order, a session's last; then those of `<class, subclass, *>`, then of
    /// `<class, *, *>`.
    pub entries: Vec<Arc<Entry>>,
    /// How many of them registered the command itself.
    pub exact: usize,
    /// How many of them registered this triple, which may be a wildcard.
    own: usize,
}

/// All commands at one time.
#[derive(Clone, Default)]
pub struct Snapshot {
    chains: HashMap<Arc<CommandKey>, Arc<Chain>, RandomState>,
}

/// What becomes of the entry of a session, which has no other names.
pub(super) struct Change {
    /// The entry that stands there.
    pub(super) before: Option<Arc<Entry>>,
    /// The entry that is to stand there.
    pub(super) after: Option<Arc<Entry>>,
}

/// Who registered which triple.
type Own = HashMap<Arc<CommandKey>, Vec<Arc<Entry>>, RandomState>;

impl Snapshot {
    /// Builds the table from the entries of all plugins, first asked first.
    pub fn build(entries: impl IntoIterator<Item = Entry>) -> Self {
        let mut own = Own::default();
        for entry in entries.into_iter().map(Arc::new) {
            for key in keys(&entry) {
                own.entry(key).or_default().push(Arc::clone(&entry));
            }
        }
        let mut table = Self::default();
        table.put(own.keys().cloned(), &own);
        table
    }

    /// The table with some entries of sessions changed. What is not touched is shared, so this costs two reference
    /// counts for each command, and a chain for each that is touched.
    pub(super) fn changed(&self, changes: impl IntoIterator<Item = Change>) -> Self {
        let mut table = self.clone();
        let mut own = Own::default();
        for Change { before, after } in changes {
            let Some(key) = before.as_ref().or(after.as_ref()).map(|entry| Arc::clone(&entry.key)) else {
                continue;
            };
            let entries = own.entry(Arc::clone(&key)).or_insert_with(|| table.own(&key).to_vec());
            entries.retain(|entry| before.as_ref().is_none_or(|before| !Arc::ptr_eq(entry, before)));
            entries.extend(after);
        }
        let touched = table.touched(&own);
        table.put(touched, &own);
        table
    }

    /// What serves a command: the exact entry, else `<class, subclass, *>`, else `<class, *, *>`.
    pub fn lookup(&self, class: &str, subclass: &str, cmd: &str) -> Option<&Arc<Chain>> {
        let find = |subclass, cmd| self.chains.get(&KeyRef { class, subclass, cmd });
        find(subclass, cmd).or_else(|| find(subclass, "*")).or_else(|| find("*", "*"))
    }

    /// Every command, each with the plugin that is asked first.
    pub fn commands(&self) -> Vec<CommandInfo> {
        let first = |(key, chain): (&Arc<CommandKey>, &Arc<Chain>)| {
            chain.own().iter().find(|entry| entry.key == *key).map(|entry| entry.info())
        };
        let mut commands: Vec<_> = self.chains.iter().filter_map(first).collect();
        commands.sort_by(|a, b| (&a.class, &a.subclass, &a.cmd).cmp(&(&b.class, &b.subclass, &b.cmd)));
        commands
    }

    /// How many registered this triple.
    pub(super) fn count(&self, key: &CommandKey) -> usize {
        self.own(key).len()
    }

    fn own(&self, key: &CommandKey) -> &[Arc<Entry>] {
        self.chains.get(key).map(|chain| chain.own()).unwrap_or_default()
    }

    /// The triples whose chains a change of `own` reaches: themselves, and those below a wildcard.
    fn touched(&self, own: &Own) -> HashSet<Arc<CommandKey>, RandomState> {
        let mut touched: HashSet<_, _> = own.keys().cloned().collect();
        let classes: HashSet<&str, RandomState> =
            own.keys().filter(|key| is_wildcard(key)).map(|key| &*key.class).collect();
        if !classes.is_empty() {
            touched.extend(self.chains.keys().filter(|key| classes.contains(&*key.class)).cloned());
        }
        touched
    }

    /// Sets the chains of `keys`, where `own` tells who has registered what otherwise than the table does.
    fn put(&mut self, keys: impl IntoIterator<Item = Arc<CommandKey>>, own: &Own) {
        let of = |table: &Self, key: KeyRef<'_>| match own.get(&key) {
            Some(entries) => entries.clone(),
            None => table.chains.get(&key).map(|chain| chain.own().to_vec()).unwrap_or_default(),
        };
        let mut chains = Vec::new();
        for key in keys {
            let exact = of(self, KeyRef::from(&*key));
            let chain = (!exact.is_empty()).then(|| chain(&key, exact, |wider| of(self, wider)));
            chains.push((key, chain));
        }
        for (key, chain) in chains {
            match chain {
                Some(chain) => drop(self.chains.insert(key, Arc::new(chain))),
                None => drop(self.chains.remove(&*key)),
            }
        }
    }
}

impl Chain {
    fn own(&self) -> &[Arc<Entry>] {
        self.entries.get(..self.own).unwrap_or_default()
    }
}

/// The names under which an entry is found.
fn keys(entry: &Entry) -> impl Iterator<Item = Arc<CommandKey>> {
    let key = &entry.key;
    let alias = |cmd: &str| Arc::new(CommandKey { cmd: cmd.into(), ..(**key).clone() });
    std::iter::once(Arc::clone(key)).chain(entry.command.aliases.iter().map(move |cmd| alias(cmd)))
}

fn chain(
    key: &CommandKey,
    mut entries: Vec<Arc<Entry>>,
    registered: impl Fn(KeyRef<'_>) -> Vec<Arc<Entry>>,
) -> Chain {
    let own = entries.len();
    if *key.subclass != *"*" {
        let any_cmd = KeyRef { cmd: "*", ..KeyRef::from(key) };
        if *key.cmd != *"*" {
            entries.extend(registered(any_cmd));
        }
        entries.extend(registered(KeyRef { subclass: "*", ..any_cmd }));
    }
    Chain { entries, exact: if is_wildcard(key) { 0 } else { own }, own }
}

#[derive(Clone, Copy, Hash)]
struct KeyRef<'a> {
    class: &'a str,
    subclass: &'a str,
    cmd: &'a str,
}

impl<'a> From<&'a CommandKey> for KeyRef<'a> {
    fn from(key: &'a CommandKey) -> Self {
        Self { class: &key.class, subclass: &key.subclass, cmd: &key.cmd }
    }
}

impl Equivalent<Arc<CommandKey>> for KeyRef<'_> {
    fn equivalent(&self, key: &Arc<CommandKey>) -> bool {
        *self.cmd == *key.cmd && *self.subclass == *key.subclass && *self.class == *key.class
    }
}

#[cfg(test)]
mod tests {
    use jackfield_plugin_api::{Command, NoArguments, testing::Harness};

    use super::*;
    use crate::registry::{Provider, Registry};

    fn entry(provider: &str, key: &str) -> Entry {
        let host = Harness::with(&serde_json::json!({}), Vec::new()).unwrap().host();
        let provider = Arc::new(Provider { name: provider.into(), host });
        let mut levels = key.split('/');
        let mut next = || levels.next().unwrap();
        let command = Command::define(next(), next(), next());
        Entry::new(command.handler(|_cx, _: NoArguments| async { Ok(()) }), provider).unwrap()
    }

    fn asked(registry: &Registry, class: &str, subclass: &str, cmd: &str) -> Vec<String> {
        let chain = registry.lookup(class, subclass, cmd);
        let entries = chain.iter().flat_map(|chain| &chain.entries);
        entries.map(|entry| format!("{}:{}", entry.provider.name, entry.key)).collect()
    }

    fn set(registry: &Registry, key: &str, provider: Option<&str>) {
        let made = Arc::new(entry(provider.unwrap_or("gone"), key));
        registry.set_of_sessions([(Arc::clone(&made.key), provider.map(|_| made))]);
    }

    #[test]
    fn entries_of_sessions_come_and_go_and_chains_follow() {
        let registry = Registry::new();
        registry.replace(Snapshot::build([entry("p", "a/b/c"), entry("p", "a/*/*")]));
        set(&registry, "a/b/*", Some("s"));
        assert_eq!(asked(&registry, "a", "b", "c"), ["p:a/b/c", "s:a/b/*", "p:a/*/*"]);
        assert_eq!(asked(&registry, "a", "b", "z"), ["s:a/b/*", "p:a/*/*"]);
        set(&registry, "a/b/*", Some("t"));
        assert_eq!(asked(&registry, "a", "b", "c"), ["p:a/b/c", "t:a/b/*", "p:a/*/*"]);
        set(&registry, "a/b/*", None);
        assert_eq!(asked(&registry, "a", "b", "c"), ["p:a/b/c", "p:a/*/*"]);
        assert_eq!(asked(&registry, "a", "b", "z"), ["p:a/*/*"]);
    }

    #[test]
    fn a_plugin_takes_a_triple_over_and_gives_it_back() {
        let registry = Registry::new();
        set(&registry, "a/b/c", Some("s"));
        assert!(!registry.is_of_plugin(&CommandKey::new("a", "b", "c")));
        registry.replace(Snapshot::build([entry("p", "a/b/c")]));
        assert_eq!(asked(&registry, "a", "b", "c"), ["p:a/b/c", "s:a/b/c"]);
        assert!(registry.is_of_plugin(&CommandKey::new("a", "b", "c")));
        assert_eq!(registry.commands().iter().map(|info| &info.plugin).collect::<Vec<_>>(), ["p"]);
        registry.replace(Snapshot::default());
        assert_eq!(asked(&registry, "a", "b", "c"), ["s:a/b/c"]);
        set(&registry, "a/b/c", None);
        assert!(registry.commands().is_empty() && asked(&registry, "a", "b", "c").is_empty());
    }
}
