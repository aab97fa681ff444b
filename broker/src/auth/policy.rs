use jackfield_plugin_api::{
    Action, CommandKey, Glob, Identity, Permissions,
    permission::{InvalidPermission, Permission},
};

use crate::config::{DefaultPolicy, RuleConfig, ServiceConfig};

/// The rules of the configuration file, and what holds where they say nothing (protocol §8).
pub struct Policy {
    rules: Vec<Rule>,
    default: DefaultPolicy,
}

struct Rule {
    user: Glob,
    permissions: Permissions,
}

impl Policy {
    /// Reads a service's rules.
    ///
    /// # Errors
    /// The first entry that is no permission.
    pub fn new(config: &ServiceConfig) -> Result<Self, InvalidPermission> {
        let rules = config.rules.iter().map(Rule::new).collect::<Result<_, _>>()?;
        Ok(Self { rules, default: config.default_policy })
    }

    /// Whether a session may do something.
    pub fn allows(&self, identity: &Identity, action: &Action) -> bool {
        if identity.administrator {
            return true;
        }
        let rules = self.rules.iter().filter(|rule| rule.user.matches(identity.user.as_str()));
        if let Some(decided) = rules.filter_map(|rule| rule.permissions.decide(action)).next() {
            return decided;
        }
        match &identity.permissions {
            Some(permissions) => permissions.decide(action).unwrap_or(false),
            None => self.default == DefaultPolicy::Allow && given_by_default(action),
        }
    }
}

impl Rule {
    fn new(config: &RuleConfig) -> Result<Self, InvalidPermission> {
        let parse = |patterns: &[String]| {
            patterns.iter().map(|text| text.parse()).collect::<Result<Vec<Permission>, _>>()
        };
        let permissions = Permissions { allow: parse(&config.allow)?, deny: parse(&config.deny)? };
        Ok(Self { user: Glob::new(&config.user), permissions })
    }
}

/// What protocol §8 says no default policy gives.
fn given_by_default(action: &Action) -> bool {
    match action {
        Action::Command(key) => !changes_plugins(key),
        Action::Subscribe(topic) => topic.class != "*",
        Action::Publish(_) => true,
        _ => false,
    }
}

fn changes_plugins(key: &CommandKey) -> bool {
    &*key.class == "core" && &*key.subclass == "plugin" && matches!(&*key.cmd, "load" | "unload" | "reload")
}
