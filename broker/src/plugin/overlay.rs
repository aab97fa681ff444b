use std::collections::BTreeMap;

use serde_json::Value;

use crate::config::PluginRef;

/// What `core plugin load`, `unload` and `reload` changed. It lies over the configuration file, read anew or not, and
/// holds until the broker's end.
#[derive(Clone, Default)]
pub struct Overlay {
    loaded: Vec<PluginRef>,
    unloaded: BTreeMap<String, PluginRef>,
    tables: BTreeMap<String, Value>,
}

impl Overlay {
    /// The plugins that are wanted where the file lists these: what was loaded stands behind.
    pub fn wanted(&self, listed: &[PluginRef]) -> Vec<PluginRef> {
        let stays = |plugin: &&PluginRef| !self.unloaded.values().any(|gone| gone == *plugin);
        let further = self.loaded.iter().filter(|plugin| !listed.contains(plugin));
        listed.iter().filter(stays).chain(further).cloned().collect()
    }

    /// The table that was given while the broker runs, in place of the file's.
    pub fn table(&self, plugin: &str) -> Option<&Value> {
        self.tables.get(plugin)
    }

    /// What a plugin was that was unloaded.
    pub fn unloaded(&self, plugin: &str) -> Option<&PluginRef> {
        self.unloaded.get(plugin)
    }

    /// Takes note that a plugin was loaded.
    pub fn load(&mut self, plugin: &str, reference: PluginRef) {
        self.unloaded.remove(plugin);
        if !self.loaded.contains(&reference) {
            self.loaded.push(reference);
        }
    }

    /// Takes note that a plugin was unloaded. Its table goes with it.
    pub fn unload(&mut self, plugin: &str, reference: PluginRef) {
        self.loaded.retain(|loaded| *loaded != reference);
        self.tables.remove(plugin);
        self.unloaded.insert(plugin.to_owned(), reference);
    }

    /// Takes note of the table that a plugin was given.
    pub fn set_table(&mut self, plugin: &str, table: Value) {
        self.tables.insert(plugin.to_owned(), table);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plugin(name: &str) -> PluginRef {
        PluginRef::Builtin(name.into())
    }

    #[test]
    fn what_was_changed_lies_over_the_list() {
        let listed = ["a", "b"].map(plugin);
        let mut overlay = Overlay::default();
        assert_eq!(overlay.wanted(&listed), listed);
        overlay.load("c", plugin("c"));
        overlay.unload("a", plugin("a"));
        assert_eq!(overlay.wanted(&listed), ["b", "c"].map(plugin));
        assert_eq!(overlay.wanted(&["c", "a", "d"].map(plugin)), ["c", "d"].map(plugin));
    }

    #[test]
    fn what_is_loaded_again_has_its_place_in_the_list() {
        let listed = ["a", "b"].map(plugin);
        let mut overlay = Overlay::default();
        overlay.unload("a", plugin("a"));
        assert_eq!(overlay.unloaded("a"), Some(&plugin("a")));
        overlay.load("a", plugin("a"));
        assert_eq!((overlay.wanted(&listed), overlay.unloaded("a")), (listed.to_vec(), None));
        assert_eq!(overlay.wanted(&["b"].map(plugin)), ["b", "a"].map(plugin));
    }

    #[test]
    fn a_table_goes_with_its_plugin() {
        let mut overlay = Overlay::default();
        overlay.load("a", plugin("a"));
        overlay.set_table("a", Value::Bool(true));
        assert_eq!(overlay.table("a"), Some(&Value::Bool(true)));
        overlay.unload("a", plugin("a"));
        assert_eq!(overlay.table("a"), None);
    }
}
