use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::{Equivalent, HashMap};
use jackfield_plugin_api::{CommandInfo, CommandKey};

use super::Entry;

/// The handlers that one command is offered to, first asked first.
pub struct Chain {
    /// Those that registered it, in plugin order; then those of `<class, subclass, *>`, then of `<class, *, *>`.
    pub entries: Vec<Arc<Entry>>,
    /// How many of them registered the command itself.
    pub exact: usize,
}

/// All commands at one time.
#[derive(Default)]
pub struct Snapshot {
    chains: HashMap<CommandKey, Arc<Chain>, RandomState>,
    listed: Vec<Arc<Entry>>,
}

impl Snapshot {
    /// Builds the table from the entries of all plugins, first asked first.
    pub fn build(entries: impl IntoIterator<Item = Entry>) -> Self {
        let mut own: HashMap<CommandKey, Vec<Arc<Entry>>, RandomState> = HashMap::default();
        let mut listed = Vec::new();
        for entry in entries.into_iter().map(Arc::new) {
            for key in keys(&entry) {
                own.entry(key).or_default().push(Arc::clone(&entry));
            }
            listed.push(entry);
        }
        let chains =
            own.iter().map(|(key, exact)| (key.clone(), Arc::new(chain(key, exact, &own)))).collect();
        listed.sort_by(|a, b| a.key.cmp(&b.key));
        listed.dedup_by(|later, first| later.key == first.key);
        Self { chains, listed }
    }

    /// What serves a command: the exact entry, else `<class, subclass, *>`, else `<class, *, *>`.
    pub fn lookup(&self, class: &str, subclass: &str, cmd: &str) -> Option<&Arc<Chain>> {
        let find = |subclass, cmd| self.chains.get(&KeyRef { class, subclass, cmd });
        find(subclass, cmd).or_else(|| find(subclass, "*")).or_else(|| find("*", "*"))
    }

    /// Every command, each with the plugin that is asked first.
    pub fn commands(&self) -> Vec<CommandInfo> {
        self.listed.iter().map(|entry| entry.info()).collect()
    }
}

/// The names under which an entry is found.
fn keys(entry: &Entry) -> impl Iterator<Item = CommandKey> {
    let key = &entry.command.key;
    let alias = |cmd: &str| CommandKey { cmd: cmd.into(), ..key.clone() };
    std::iter::once(key.clone()).chain(entry.command.aliases.iter().map(move |cmd| alias(cmd)))
}

fn chain(
    key: &CommandKey,
    exact: &[Arc<Entry>],
    own: &HashMap<CommandKey, Vec<Arc<Entry>>, RandomState>,
) -> Chain {
    let mut entries = exact.to_vec();
    let below = [(&*key.subclass, "*"), ("*", "*")];
    let wider = below.into_iter().filter(|below| *below != (&*key.subclass, &*key.cmd));
    for (subclass, cmd) in wider {
        let found = own.get(&KeyRef { class: &key.class, subclass, cmd });
        entries.extend(found.into_iter().flatten().cloned());
    }
    if *key.subclass == *"*" {
        entries.truncate(exact.len());
    }
    Chain { entries, exact: if super::is_wildcard(key) { 0 } else { exact.len() } }
}

#[derive(Hash)]
struct KeyRef<'a> {
    class: &'a str,
    subclass: &'a str,
    cmd: &'a str,
}

impl Equivalent<CommandKey> for KeyRef<'_> {
    fn equivalent(&self, key: &CommandKey) -> bool {
        *self.cmd == *key.cmd && *self.subclass == *key.subclass && *self.class == *key.class
    }
}
