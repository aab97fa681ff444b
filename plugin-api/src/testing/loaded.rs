//! The plugins under test, and the chains through them.

use std::{collections::BTreeSet, panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt;
use serde_json::{Value, json};

use super::{call::TestCall, host::TestHost, order, world::World};
use crate::{
    auth::{Accepted, Decision, Login, SECRET_FIELDS, Verdict},
    command::Command,
    context::Context,
    error::{Error, ErrorCode, Result},
    event::{Event, Filtered},
    host::{CommandInfo, Host, PluginInfo, SessionRequest},
    json::{Data, RawJson, RawObject},
    log::{BrokerRecord, LogRecord},
    message::{Answer, CommandKey, Outcome, Request},
    permission::Action,
    plugin::{Manifest, Plugin, Registered, Registrar},
    schema::DataSchema,
    session::{Caller, SessionChange, SessionId, SessionInfo, Who},
};

pub(super) struct Loaded {
    pub(super) plugins: Vec<LoadedPlugin>,
    world: Arc<World>,
}

pub(super) struct LoadedPlugin {
    manifest: Manifest,
    schemas: Vec<DataSchema>,
    pub(super) registered: Registered,
    pub(super) host: Arc<dyn Host>,
    _plugin: Arc<dyn Plugin>,
}

/// How closely an entry of the registry fits what was asked for: the first wins (protocol §6).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Exact,
    AnyCommand,
    AnySubclass,
}

#[derive(Clone, Copy)]
struct Entry<'a> {
    fit: Fit,
    command: &'a Command,
    schema: &'a DataSchema,
    plugin: &'a LoadedPlugin,
}

impl Loaded {
    /// Registers plugins, each with its table in `config`.
    pub(super) fn load(
        config: &Value,
        plugins: Vec<Arc<dyn Plugin>>,
        world: &Arc<World>,
    ) -> Result<Arc<Self>> {
        let plugins = order::by_dependency(plugins)?;
        let plugins = plugins.into_iter().map(|plugin| LoadedPlugin::load(config, plugin, world));
        let plugins = plugins.collect::<Result<_>>()?;
        Ok(Arc::new(Self { plugins, world: Arc::clone(world) }))
    }

    /// Serves a request as the broker does.
    pub(super) async fn call(&self, caller: Arc<Caller>, request: Request) -> Result<RawJson> {
        let open = matches!((&*request.command.class, &*request.command.cmd), ("core", "login" | "ping"));
        let anonymous = matches!(caller.who, Who::Anonymous);
        if anonymous && !open {
            return Err(ErrorCode::NotAuthenticated.into());
        }
        let entries = self.entries(&request.command);
        let Some(first) = entries.first() else { return self.call_session(caller, request).await };
        if !anonymous {
            self.authorize(&caller, &Action::Command(first.permitted_as(&request.command))).await?;
        }
        let call = TestCall::new(caller, Arc::clone(&self.world));
        let reply = walk(&entries, &call, request).await;
        call.settle()?;
        reply
    }

    /// Has a session serve what it registered.
    async fn call_session(&self, caller: Arc<Caller>, request: Request) -> Result<RawJson> {
        let held = self.world.state().registered(&request.command).cloned();
        let Some(held) = held else { return Err(Error::unknown_command(&request.command)) };
        self.authorize(&caller, &Action::Command((*request.command).clone())).await?;
        let data = match &held.registration.data_schema {
            Some(schema) => {
                let schema = DataSchema::compile_bounded(schema)?;
                schema.check(&Data::from(&request.data))?.arguments.to_json()
            }
            None => request.data,
        };
        let question = SessionRequest {
            command: (*request.command).clone(),
            data,
            from: Some(caller),
            relay_acks: None,
        };
        let host = TestHost { plugin: "core".into(), world: Arc::clone(&self.world) };
        host.request(&held.session_id, question).await
    }

    /// Whether a plugin has this very triple.
    pub(super) fn provides(&self, key: &CommandKey) -> bool {
        let same = |command: &Command| {
            (&command.key.class, &command.key.subclass) == (&key.class, &key.subclass)
                && (command.key.cmd == key.cmd || command.aliases.contains(&key.cmd))
        };
        self.plugins.iter().flat_map(|plugin| &plugin.registered.commands).any(same)
    }

    /// What serves `key`, in the order in which it is asked.
    fn entries(&self, key: &CommandKey) -> Vec<Entry<'_>> {
        let all = self.plugins.iter().flat_map(LoadedPlugin::entries);
        let mut entries: Vec<_> =
            all.filter_map(|entry| Some(Entry { fit: fit(entry.command, key)?, ..entry })).collect();
        entries.sort_by_key(|entry| entry.fit);
        entries
    }

    /// Every command once, whoever else is in its chain.
    pub(super) fn commands(&self) -> Vec<CommandInfo> {
        let keys: BTreeSet<_> =
            self.plugins.iter().flat_map(LoadedPlugin::entries).map(|entry| &entry.command.key).collect();
        keys.into_iter().filter_map(|key| self.command(key)).collect()
    }

    pub(super) fn command(&self, key: &CommandKey) -> Option<CommandInfo> {
        self.entries(key).first().map(Entry::info)
    }

    pub(super) fn infos(&self) -> Vec<PluginInfo> {
        self.plugins.iter().map(LoadedPlugin::info).collect()
    }

    /// Asks the authorizers, then plays the default policy "allow" (protocol §8).
    pub(super) async fn authorize(&self, caller: &Arc<Caller>, action: &Action) -> Result<()> {
        if caller.is_trusted() {
            return Ok(());
        }
        for authorizer in self.plugins.iter().flat_map(|plugin| &plugin.registered.authorizers) {
            match authorizer.authorize(caller, action).await.decision {
                Decision::Allow => return Ok(()),
                Decision::Deny(error) => return Err(error),
                Decision::Continue => {}
            }
        }
        let identity = caller.identity().ok_or(ErrorCode::NotAuthenticated)?;
        let own = identity.permissions.as_ref();
        let allowed = own.map(|own| own.decide(action).unwrap_or(false)).unwrap_or(given_by_default(action));
        if allowed { Ok(()) } else { Err(ErrorCode::Unauthorized.into()) }
    }

    pub(super) async fn authenticate(&self, login: &Login, from: &Caller) -> Verdict {
        for authenticator in self.plugins.iter().flat_map(|plugin| &plugin.registered.authenticators) {
            match authenticator.authenticate(login, from).await {
                Verdict::Continue => {}
                said => return said,
            }
        }
        Verdict::Continue
    }

    pub(super) async fn login(&self, login: Login, from: &Caller) -> Result<RawObject> {
        let accepted = match self.authenticate(&login, from).await {
            Verdict::Accept(accepted) => accepted,
            Verdict::Reject(error) => return Err(error),
            Verdict::Continue if login.user.is_none() => return Err(Error::missing_field("user")),
            Verdict::Continue => return Err(ErrorCode::Unauthorized.into()),
        };
        let session_id = self.choose_session_id(&login, &accepted)?;
        self.world.start_session(SessionInfo {
            session_id: session_id.clone(),
            user: accepted.user.clone(),
            service: Arc::clone(&from.service),
            remote: Arc::clone(&from.remote),
            metadata: Arc::new(self.metadata(login, &accepted)),
        })?;
        let mut answer = RawObject::default();
        answer.set("session_id", &session_id)?;
        for (name, value) in accepted.answer.iter() {
            answer.insert(name, value.clone());
        }
        Ok(answer)
    }

    fn choose_session_id(&self, login: &Login, accepted: &Accepted) -> Result<SessionId> {
        match (&accepted.session_id, &login.session_id) {
            (Some(chosen), _) => Ok(chosen.clone()),
            (None, Some(wish)) => SessionId::new(wish),
            (None, None) => SessionId::new(&format!("session-{}", self.world.state().changes + 1)),
        }
    }

    fn metadata(&self, login: Login, accepted: &Accepted) -> RawObject {
        let authenticators = self.plugins.iter().flat_map(|plugin| &plugin.registered.authenticators);
        let declared: Vec<_> =
            authenticators.flat_map(|authenticator| authenticator.secret_fields()).collect();
        let public =
            |name: &str| !SECRET_FIELDS.contains(&name) && !declared.iter().any(|secret| **secret == name);
        let (mut metadata, mut meta) = (login.fields, login.meta);
        metadata.retain(|name, _| public(name));
        meta.retain(|name, _| public(name));
        if !meta.is_empty() {
            metadata.insert("meta", meta.to_json());
        }
        for (name, value) in accepted.metadata.iter() {
            metadata.insert(name, value.clone());
        }
        metadata
    }

    /// What the filters leave of an event.
    pub(super) fn fired(&self, mut event: Event) -> Option<Event> {
        for filter in self.plugins.iter().flat_map(|plugin| &plugin.registered.event_filters) {
            match filter.fired(&event) {
                Filtered::Pass => {}
                Filtered::Replace(changed) => event = changed,
                Filtered::Drop => return None,
            }
        }
        Some(event)
    }

    /// What the filters leave of an event on its way to one session.
    pub(super) fn delivering(&self, mut event: Event, to: &SessionInfo) -> Option<Event> {
        let filters = self.plugins.iter().flat_map(|plugin| &plugin.registered.event_filters);
        for filter in filters.filter(|filter| filter.filters_deliveries()) {
            match filter.delivering(&event, to) {
                Filtered::Pass => {}
                Filtered::Replace(changed) => event = changed,
                Filtered::Drop => return None,
            }
        }
        Some(event)
    }

    pub(super) fn received(&self, event: &Event, from: &Caller) {
        for filter in self.plugins.iter().flat_map(|plugin| &plugin.registered.event_filters) {
            filter.received(event, from);
        }
    }

    pub(super) fn session_changed(&self, change: &SessionChange) {
        for observer in self.plugins.iter().flat_map(|plugin| &plugin.registered.session_observers) {
            observer.session_changed(change);
        }
    }

    pub(super) fn log(&self, record: &LogRecord) -> Result<()> {
        let mut sinks = self.plugins.iter().flat_map(|plugin| &plugin.registered.log_sinks);
        sinks.try_for_each(|sink| sink.log(record))
    }

    pub(super) fn broker_log(&self, record: &BrokerRecord) {
        let sinks = self.plugins.iter().flat_map(|plugin| &plugin.registered.broker_log_sinks);
        sinks.for_each(|sink| sink.record(record));
    }
}

impl LoadedPlugin {
    fn load(config: &Value, plugin: Arc<dyn Plugin>, world: &Arc<World>) -> Result<Self> {
        let manifest = plugin.manifest();
        let table = config.get(&manifest.name).cloned().unwrap_or_else(|| json!({}));
        check_config(&manifest, &table)?;
        let host: Arc<dyn Host> =
            Arc::new(TestHost { plugin: manifest.name.clone(), world: Arc::clone(world) });
        let mut registrar = Registrar::new(table, Arc::clone(&host));
        plugin.register(&mut registrar)?;
        let registered = registrar.finish();
        let schemas = registered.commands.iter().map(|command| DataSchema::compile(&command.data_schema));
        let schemas = schemas.collect::<Result<_>>()?;
        Ok(Self { manifest, schemas, registered, host, _plugin: plugin })
    }

    fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        let commands = self.registered.commands.iter().zip(&self.schemas);
        commands.map(|(command, schema)| Entry { fit: Fit::Exact, command, schema, plugin: self })
    }

    fn info(&self) -> PluginInfo {
        let registered = &self.registered;
        PluginInfo {
            name: self.manifest.name.clone(),
            version: self.manifest.version.clone(),
            kind: "builtin".into(),
            state: "running".into(),
            description: self.manifest.about.clone(),
            depends: self.manifest.depends.clone(),
            commands: registered.commands.iter().map(|command| command.key.to_string()).collect(),
            authenticators: registered.authenticators.len(),
            authorizers: registered.authorizers.len(),
            event_filters: registered.event_filters.len(),
            session_observers: registered.session_observers.len(),
            log_sinks: registered.log_sinks.len(),
            broker_log_sinks: registered.broker_log_sinks.len(),
            services: registered.services.len(),
        }
    }
}

/// Checks a plugin's table, which may hold only what its schema knows.
fn check_config(manifest: &Manifest, table: &Value) -> Result<()> {
    let empty = json!({ "type": "object", "additionalProperties": false });
    let schema = DataSchema::compile(manifest.config_schema.as_ref().unwrap_or(&empty))?;
    let table = RawJson::from_value(table)?;
    match schema.check(&Data::from(&table))?.unrecognized.first() {
        Some(key) => Err(Error::invalid_value(format_args!("plugin.{}.{key}", manifest.name))),
        None => Ok(()),
    }
}

impl Entry<'_> {
    /// The name under which permission is asked: an alias by its main name.
    fn permitted_as(&self, asked: &CommandKey) -> CommandKey {
        if self.fit == Fit::Exact { self.command.key.clone() } else { asked.clone() }
    }

    fn info(&self) -> CommandInfo {
        let key = &self.command.key;
        CommandInfo {
            class: key.class.to_string(),
            subclass: key.subclass.to_string(),
            cmd: key.cmd.to_string(),
            aliases: self.command.aliases.iter().map(ToString::to_string).collect(),
            description: self.command.about.clone(),
            plugin: self.plugin.manifest.name.clone(),
            permission: Action::Command(key.clone()).to_string(),
            data_schema: self.command.data_schema.clone(),
            reply_schema: self.command.reply_schema.clone(),
        }
    }

    async fn ask(&self, call: &Arc<TestCall>, request: Request) -> Outcome {
        let data = self.schema.check(&Data::from(&request.data))?.arguments.to_json();
        let cx = Context::new(Arc::clone(call) as _, Arc::clone(&self.plugin.host));
        let handler = Arc::clone(&self.command.handler);
        let called = handler.call(cx.clone(), Request { data, ..request });
        let outcome = AssertUnwindSafe(called).catch_unwind().await;
        match outcome.unwrap_or_else(|_| Err(Error::internal_ref("panic"))) {
            Ok(Answer::Relay(relay)) => relay.wait(&cx).await,
            other => other,
        }
    }
}

async fn walk(entries: &[Entry<'_>], call: &Arc<TestCall>, mut request: Request) -> Result<RawJson> {
    for entry in entries {
        match entry.ask(call, request).await? {
            Answer::Reply(reply) => return Ok(reply),
            Answer::Continue(next) => request = next,
            Answer::Relay(_) => return Err(ErrorCode::NotImplemented.into()),
        }
    }
    if entries.iter().any(|entry| entry.fit == Fit::Exact) {
        return Err(ErrorCode::NotImplemented.into());
    }
    Err(Error::unknown_command(&request.command))
}

fn fit(entry: &Command, asked: &CommandKey) -> Option<Fit> {
    let key = &entry.key;
    if key.class != asked.class {
        return None;
    }
    if (&*key.subclass, &*key.cmd) == ("*", "*") {
        return Some(Fit::AnySubclass);
    }
    if key.subclass != asked.subclass {
        return None;
    }
    if &*key.cmd == "*" {
        return Some(Fit::AnyCommand);
    }
    (key.cmd == asked.cmd || entry.aliases.contains(&asked.cmd)).then_some(Fit::Exact)
}

fn given_by_default(action: &Action) -> bool {
    match action {
        Action::Command(key) => {
            let managed = matches!(&*key.cmd, "load" | "unload" | "reload");
            !((&*key.class, &*key.subclass) == ("core", "plugin") && managed)
        }
        Action::Subscribe(topic) => topic.class != "*",
        Action::Publish(_) => true,
        Action::Register(_) | Action::Service(_) => false,
    }
}
