//! What depends on more than one key.

use std::fs::File;
use std::path::Path;

use secrecy::SecretString;

use super::address::{ListenUrl, collide};
use super::error::ConfigError;
use super::read::{Reader, written_key};
use super::section::Section;
use super::service::{PluginRef, RuleConfig, ServiceConfig, TlsConfig};
use super::tree::{Node, Value};
use super::{Config, main_service};

impl Section for RuleConfig {}

impl Section for Config {
    fn check(&mut self, node: &Node, reader: &mut Reader) {
        if self.services.is_empty() {
            self.services = main_service();
        }
        check_services_listen(node, reader);
        check_ports(self, node, reader);
    }
}

impl Section for ServiceConfig {
    fn check(&mut self, node: &Node, reader: &mut Reader) {
        check_plugins(&self.plugins, node, reader);
        if let Some(file) = node.get("admin_password_file") {
            self.take_password_file(node.get("admin_password"), file, reader);
        }
        if self.tls.is_none() && node.get("tls").is_none() {
            check_no_tls_listener(&self.listen, node, reader);
        }
    }
}

impl ServiceConfig {
    /// The password from its file, where no later layer gives one itself.
    fn take_password_file(&mut self, password: Option<&Node>, file: &Node, reader: &mut Reader) {
        reader.within("admin_password_file", |reader| match password.map(|password| password.at.layer()) {
            Some(layer) if layer == file.at.layer() => {
                reader.problem(file, "expected either admin_password or admin_password_file, found both");
            }
            Some(layer) if layer > file.at.layer() => self.admin_password_file = None,
            _ => {
                let path = self.admin_password_file.as_deref();
                self.admin_password = path.and_then(|path| read_password(path, file, reader));
            }
        });
    }
}

fn read_password(path: &Path, node: &Node, reader: &mut Reader) -> Option<SecretString> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            reader.problem(node, format!("expected a file to read, {}: {error}", path.display()));
            return None;
        }
    };
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let password = line.strip_suffix('\r').unwrap_or(line);
    if password.is_empty() {
        reader.problem(node, format!("expected a password in {}, found an empty file", path.display()));
        return None;
    }
    Some(SecretString::from(password))
}

fn check_plugins(plugins: &[PluginRef], node: &Node, reader: &mut Reader) {
    let Some(list) = node.get("plugins") else { return };
    for (index, plugin) in plugins.iter().enumerate() {
        if plugins.iter().take(index).any(|earlier| earlier == plugin) {
            reader.within("plugins", |reader| {
                reader.problem(list, format!("expected each plugin once, found `{plugin}` again"));
            });
        }
    }
}

fn check_no_tls_listener(listen: &[ListenUrl], node: &Node, reader: &mut Reader) {
    let Some(encrypted) = listen.iter().find(|url| url.scheme.is_encrypted()) else { return };
    let Some(list) = node.get("listen") else { return };
    reader.within("listen", |reader| {
        reader.problem(
            list,
            format!("{}:// needs the service's tls table, with certificate and key", encrypted.scheme),
        );
    });
}

impl Section for TlsConfig {
    fn check(&mut self, node: &Node, reader: &mut Reader) {
        for (key, path) in [
            ("certificate", Some(&self.certificate)),
            ("key", Some(&self.key)),
            ("client_ca", self.client_ca.as_ref()),
        ] {
            match (node.get(key), path) {
                (Some(value), Some(path)) => reader.within(key, |reader| check_file(path, value, reader)),
                (None, Some(_)) => reader.problem(node, format!("missing key `{key}`")),
                _ => {}
            }
        }
        if let (true, None, Some(required)) =
            (self.require_client_certificate, &self.client_ca, node.get("require_client_certificate"))
        {
            reader.within("require_client_certificate", |reader| {
                reader.problem(required, "expected client_ca beside it, to check certificates against");
            });
        }
    }
}

/// The file must open; an empty path is a value that was wrong, and reported before.
fn check_file(path: &Path, node: &Node, reader: &mut Reader) {
    if path.as_os_str().is_empty() {
        return;
    }
    let opened = File::open(path).and_then(|file| file.metadata());
    match opened {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => reader.problem(node, format!("expected a file to read, {} is none", path.display())),
        Err(error) => reader.problem(node, format!("expected a file to read, {}: {error}", path.display())),
    }
}

/// Only service `main` has listeners by default.
fn check_services_listen(node: &Node, reader: &mut Reader) {
    let Some(Value::Table(services)) = node.get("service").map(|services| &services.value) else { return };
    for (name, service) in services {
        if name != "main" && matches!(service.value, Value::Table(_)) && service.get("listen").is_none() {
            reader.within("service", |reader| {
                reader.within(name, |reader| {
                    reader.problem(service, "missing key `listen`: only service main has a default");
                });
            });
        }
    }
}

/// A listener as far as ports go. A default has no place.
struct Claim {
    key: String,
    place: Option<Node>,
    host: String,
    port: u16,
}

/// Two listeners may not claim one port.
fn check_ports(config: &Config, node: &Node, reader: &mut Reader) {
    let mut claims = claims(config, node);
    claims.sort_by_key(|claim| claim.place.is_some());
    for (index, claim) in claims.iter().enumerate() {
        let earlier = claims
            .iter()
            .take(index)
            .find(|earlier| collide((&claim.host, claim.port), (&earlier.host, earlier.port)));
        if let (Some(earlier), Some(place)) = (earlier, &claim.place) {
            let message =
                format!("port {} is already taken by {} in {}", claim.port, earlier.host, earlier.key);
            reader.report(ConfigError::new(Some(place.at.clone()), claim.key.clone(), message));
        }
    }
}

fn claims(config: &Config, root: &Node) -> Vec<Claim> {
    let mut claims = Vec::new();
    for (name, service) in &config.services {
        let list = root.find(&["service", name, "listen"]).map(Node::interpreted);
        for url in &service.listen {
            claims.push(Claim {
                key: format!("service.{}.listen", written_key(name)),
                place: list.as_ref().map(|list| item_with(list, url).unwrap_or(list).clone()),
                host: url.host.clone(),
                port: url.port,
            });
        }
    }
    if let Some(address) = &config.admin.listen {
        claims.push(Claim {
            key: "admin.listen".to_owned(),
            place: root.find(&["admin", "listen"]).cloned(),
            host: address.host.clone(),
            port: address.port,
        });
    }
    claims
}

/// The list's item that gave `url`.
fn item_with<'a>(list: &'a Node, url: &ListenUrl) -> Option<&'a Node> {
    let Value::List(items) = &list.value else { return None };
    items.iter().rev().find(|item| match &item.value {
        Value::Text(text) | Value::Written(text) => text.parse().as_ref() == Ok(url),
        _ => false,
    })
}
