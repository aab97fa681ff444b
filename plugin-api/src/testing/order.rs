//! The order of plugins.

use std::sync::Arc;

use crate::{
    error::{Error, Result},
    plugin::Plugin,
};

/// Puts each plugin before those it depends on, and keeps the order as it was given apart from that.
pub(super) fn by_dependency(plugins: Vec<Arc<dyn Plugin>>) -> Result<Vec<Arc<dyn Plugin>>> {
    let mut waiting: Vec<_> = plugins.into_iter().map(|plugin| (plugin.manifest(), plugin)).collect();
    for (manifest, _) in &waiting {
        let listed = |name: &&String| waiting.iter().any(|(other, _)| other.name == **name);
        if let Some(missing) = manifest.depends.iter().find(|name| !listed(name)) {
            return Err(Error::invalid_value(format_args!("plugins: {} needs {missing}", manifest.name)));
        }
    }
    let mut ordered = Vec::new();
    while !waiting.is_empty() {
        let needed =
            |name: &str| waiting.iter().any(|(other, _)| other.depends.iter().any(|dep| dep == name));
        let Some(next) = waiting.iter().position(|(manifest, _)| !needed(&manifest.name)) else {
            let circle: Vec<_> = waiting.iter().map(|(manifest, _)| manifest.name.as_str()).collect();
            let circle = circle.join(", ");
            return Err(Error::invalid_value(format_args!("plugins: {circle} need one another")));
        };
        ordered.push(waiting.remove(next).1);
    }
    Ok(ordered)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::{Manifest, Registrar};

    struct Named(&'static str, &'static [&'static str]);

    impl Plugin for Named {
        fn manifest(&self) -> Manifest {
            let manifest = Manifest::new(self.0, "1.0.0");
            self.1.iter().fold(manifest, |manifest, name| manifest.depends_on(name))
        }

        fn register(&self, _: &mut Registrar) -> Result<()> {
            Ok(())
        }
    }

    fn order(plugins: Vec<Named>) -> Result<String, String> {
        let plugins = plugins.into_iter().map(|plugin| Arc::new(plugin) as Arc<dyn Plugin>).collect();
        let ordered = by_dependency(plugins).map_err(|error| error.text().to_owned())?;
        Ok(ordered.iter().map(|plugin| plugin.manifest().name).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn dependents_come_first() {
        let plugins = vec![Named("b", &[]), Named("x", &[]), Named("a", &["b"])];
        assert_eq!(order(plugins).unwrap(), "x a b");
        assert_eq!(order(vec![Named("b", &[]), Named("a", &[])]).unwrap(), "b a");
    }

    #[test]
    fn circles_and_gaps_are_named() {
        let circle = vec![Named("a", &["b"]), Named("b", &["a"])];
        assert_eq!(order(circle).unwrap_err(), "Invalid value: plugins: a, b need one another");
        assert_eq!(order(vec![Named("a", &["b"])]).unwrap_err(), "Invalid value: plugins: a needs b");
    }
}
