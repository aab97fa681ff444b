use jackfield_plugin_api::Manifest;

/// The places of the plugins in the order in which they are asked: that of the list, but each before those that it
/// depends on.
pub(super) fn resolve(plugins: &[&Manifest]) -> Result<Vec<usize>, String> {
    for plugin in plugins {
        if let Some(missing) =
            plugin.depends.iter().find(|name| !plugins.iter().any(|other| other.name == **name))
        {
            return Err(format!("plugin '{}' depends on '{missing}', which is not listed", plugin.name));
        }
    }
    let mut order = Vec::with_capacity(plugins.len());
    while order.len() < plugins.len() {
        let waits = |plugin: &Manifest, (place, other): (usize, &&Manifest)| {
            !order.contains(&place) && other.depends.contains(&plugin.name)
        };
        let free = |(place, plugin): &(usize, &&Manifest)| {
            !order.contains(place) && !plugins.iter().enumerate().any(|other| waits(plugin, other))
        };
        match plugins.iter().enumerate().find(free) {
            Some((place, _)) => order.push(place),
            None => return Err(format!("plugins depend on each other: {}", circle(plugins, &order))),
        }
    }
    Ok(order)
}

/// Follows the dependencies of the plugins that are left until one comes up again.
fn circle(plugins: &[&Manifest], done: &[usize]) -> String {
    let left: Vec<&Manifest> = plugins
        .iter()
        .enumerate()
        .filter(|(place, _)| !done.contains(place))
        .map(|(_, plugin)| *plugin)
        .collect();
    let user_of = |name: &str| left.iter().find(|plugin| plugin.depends.iter().any(|on| on == name));
    let mut path: Vec<&str> = left.first().map(|plugin| plugin.name.as_str()).into_iter().collect();
    while let Some(user) = path.last().and_then(|last| user_of(last)) {
        if let Some(start) = path.iter().position(|name| *name == user.name) {
            path.drain(..start);
            path.push(&user.name);
            break;
        }
        path.push(&user.name);
    }
    path.reverse();
    path.join(" -> ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(plugins: &[(&str, &[&str])]) -> Result<Vec<String>, String> {
        let manifests: Vec<Manifest> = plugins
            .iter()
            .map(|(name, depends)| {
                depends.iter().fold(Manifest::new(name, "1"), |manifest, on| manifest.depends_on(on))
            })
            .collect();
        let places = resolve(&manifests.iter().collect::<Vec<_>>())?;
        Ok(places.into_iter().map(|place| manifests[place].name.clone()).collect())
    }

    #[test]
    fn the_list_decides_where_dependencies_do_not() {
        assert_eq!(order(&[("b", &[]), ("a", &[]), ("core", &[])]).unwrap(), ["b", "a", "core"]);
        assert_eq!(order(&[("b", &[]), ("a", &["b"]), ("c", &[])]).unwrap(), ["a", "b", "c"]);
        assert_eq!(order(&[("a", &["b"]), ("b", &[]), ("c", &["a"])]).unwrap(), ["c", "a", "b"]);
    }

    #[test]
    fn what_cannot_be_resolved_is_named() {
        assert_eq!(order(&[("a", &["x"])]).unwrap_err(), "plugin 'a' depends on 'x', which is not listed");
        let error = order(&[("a", &["b"]), ("b", &["c"]), ("c", &["a"]), ("d", &[])]).unwrap_err();
        assert_eq!(error, "plugins depend on each other: a -> b -> c -> a");
        assert_eq!(order(&[("a", &["a"])]).unwrap_err(), "plugins depend on each other: a -> a");
    }
}
