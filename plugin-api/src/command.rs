//! Commands: a definition and a handler.

use std::{any::Any, fmt, future::Future, marker::PhantomData, pin::Pin, sync::Arc};

use async_trait::async_trait;
use schemars::{JsonSchema, generate::SchemaSettings};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    context::Context,
    error::Result,
    json::{Arguments, Data, RawJson},
    message::{Answer, CommandKey, Outcome, Relay, Request},
};

/// Serves requests for a command.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Serves one: [`Answer::Reply`], [`Answer::Continue`], [`Answer::Relay`] or an error.
    async fn call(self: Arc<Self>, cx: Context, request: Request) -> Outcome;

    /// Begins to serve one whose data is still where it was received. A handler that reads its data at once does so
    /// without a copy; one that is not asked to is [`call`](Self::call)ed with a copy.
    fn begin(self: Arc<Self>, cx: Context, command: &Arc<CommandKey>, arguments: &Arguments<'_>) -> Begun {
        Begun::Running(self.call(cx, Request { command: Arc::clone(command), data: arguments.to_json() }))
    }
}

/// A request that a handler has begun to serve.
pub enum Begun {
    /// It is served.
    Done(Outcome),
    /// It is being served.
    Running(Pin<Box<dyn Future<Output = Outcome> + Send>>),
}

impl fmt::Debug for Begun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done(outcome) => f.debug_tuple("Done").field(outcome).finish(),
            Self::Running(_) => f.write_str("Running"),
        }
    }
}

/// Arguments of a command that takes none.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct NoArguments {}

/// A command, ready to be registered.
#[derive(Clone)]
pub struct Command {
    /// Its names; `*` as subclass or cmd takes whatever has no exact entry.
    pub key: CommandKey,
    /// Other names for `key.cmd`.
    pub aliases: Vec<Box<str>>,
    /// What it does, in a sentence.
    pub about: String,
    /// What its data must look like, as a JSON Schema; `{}` for anything.
    pub data_schema: Value,
    /// What its answer looks like.
    pub reply_schema: Value,
    /// How its requests are run.
    pub mode: CallMode,
    /// What serves it.
    pub handler: Arc<dyn Handler>,
}

/// How requests for a command are run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallMode {
    /// One session's requests run one after the other, in the order in which they arrived.
    pub ordered: bool,
    /// The handler keeps time itself: `timeouts.handler` does not end it.
    pub keeps_own_time: bool,
    /// No permission is asked for it.
    pub unrestricted: bool,
}

impl Command {
    /// Begins the definition of `class/subclass/cmd`.
    ///
    /// ```
    /// use jackfield_plugin_api::{Command, NoArguments};
    ///
    /// let command = Command::define("hello", "core", "greet")
    ///     .about("Says hello.")
    ///     .handler(|_cx, _: NoArguments| async { Ok("hello") });
    /// assert_eq!(command.key.to_string(), "hello/core/greet");
    /// ```
    pub fn define(class: &str, subclass: &str, cmd: &str) -> Definition {
        Definition {
            key: CommandKey::new(class, subclass, cmd),
            aliases: Vec::new(),
            about: String::new(),
            data_schema: None,
            reply_schema: None,
            mode: CallMode::default(),
        }
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Command").field("key", &self.key).finish_non_exhaustive()
    }
}

/// A command whose handler is still to come.
#[derive(Clone, Debug)]
#[must_use = "a definition without a handler defines nothing"]
pub struct Definition {
    key: CommandKey,
    aliases: Vec<Box<str>>,
    about: String,
    data_schema: Option<Value>,
    reply_schema: Option<Value>,
    mode: CallMode,
}

impl Definition {
    /// What it does, in a sentence.
    pub fn about(mut self, about: impl Into<String>) -> Self {
        self.about = about.into();
        self
    }

    /// Another name for it. Permissions ask for the main name.
    pub fn alias(mut self, cmd: &str) -> Self {
        self.aliases.push(cmd.into());
        self
    }

    /// Runs one session's requests one after the other. For commands whose effects must keep the order in which
    /// they were asked for.
    pub fn ordered(mut self) -> Self {
        self.mode.ordered = true;
        self
    }

    /// Leaves the time limit to the handler.
    pub fn keeps_own_time(mut self) -> Self {
        self.mode.keeps_own_time = true;
        self
    }

    /// Asks no permission for it, whatever the rules say. For what a client must be able to do in any case.
    pub fn unrestricted(mut self) -> Self {
        self.mode.unrestricted = true;
        self
    }

    /// A JSON Schema for the data, in place of the one of the handler's argument type.
    pub fn data_schema(mut self, schema: Value) -> Self {
        self.data_schema = Some(schema);
        self
    }

    /// A JSON Schema for the answer, in place of the one of the handler's reply type.
    pub fn reply_schema(mut self, schema: Value) -> Self {
        self.reply_schema = Some(schema);
        self
    }

    /// A handler with types, which give the schemas. A reply of `()` is `{}`.
    pub fn handler<F, Fut, A, R>(mut self, run: F) -> Command
    where
        F: Fn(Context, A) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R>> + Send + 'static,
        A: DeserializeOwned + JsonSchema + Send + 'static,
        R: Serialize + JsonSchema + 'static,
    {
        self.data_schema.get_or_insert_with(schema_of::<A>);
        self.reply_schema.get_or_insert_with(reply_schema_of::<R>);
        self.finish(Arc::new(Typed { run, types: PhantomData }))
    }

    /// A handler with typed arguments that says which session answers in its place; see [`Answer::Relay`]. The answer
    /// comes in that session's time: `timeouts.answer`, and `timeouts.acked` after each of its acks.
    pub fn relay<F, A>(mut self, run: F) -> Command
    where
        F: Fn(&Context, A) -> Result<Relay> + Send + Sync + 'static,
        A: DeserializeOwned + JsonSchema + Send + 'static,
    {
        self.data_schema.get_or_insert_with(schema_of::<A>);
        self.finish(Arc::new(Relaying { run, arguments: PhantomData }))
    }

    /// A handler that gets the request as it is and may *continue*. Without a schema its data is not checked.
    pub fn raw_handler<F, Fut>(self, run: F) -> Command
    where
        F: Fn(Context, Request) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Outcome> + Send + 'static,
    {
        self.finish(Arc::new(Raw { run }))
    }

    /// A handler that is an object.
    pub fn finish(self, handler: Arc<dyn Handler>) -> Command {
        Command {
            key: self.key,
            aliases: self.aliases,
            about: self.about,
            data_schema: self.data_schema.unwrap_or_else(|| json!({})),
            reply_schema: self.reply_schema.unwrap_or_else(|| json!({})),
            mode: self.mode,
            handler,
        }
    }
}

/// The JSON Schema of a type, as a reader of it sees it.
pub fn schema_of<T: JsonSchema>() -> Value {
    generate::<T>(SchemaSettings::draft2020_12())
}

fn reply_schema_of<T: JsonSchema + 'static>() -> Value {
    if std::any::TypeId::of::<T>() == std::any::TypeId::of::<()>() {
        return json!({ "type": "object" });
    }
    generate::<T>(SchemaSettings::draft2020_12().for_serialize())
}

fn generate<T: JsonSchema>(settings: SchemaSettings) -> Value {
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    schema.remove("$schema");
    schema.remove("title");
    schema.to_value()
}

struct Typed<F, A, R> {
    run: F,
    types: PhantomData<fn(A) -> R>,
}

#[async_trait]
impl<F, Fut, A, R> Handler for Typed<F, A, R>
where
    F: Fn(Context, A) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<R>> + Send + 'static,
    A: DeserializeOwned + Send + 'static,
    R: Serialize + 'static,
{
    async fn call(self: Arc<Self>, cx: Context, request: Request) -> Outcome {
        let run = (self.run)(cx, read_arguments(&request.data)?);
        drop(request);
        answer(run).await
    }

    fn begin(self: Arc<Self>, cx: Context, _: &Arc<CommandKey>, arguments: &Arguments<'_>) -> Begun {
        match arguments.read() {
            Ok(args) => Begun::Running(Box::pin(answer((self.run)(cx, args)))),
            Err(error) => Begun::Done(Err(error)),
        }
    }
}

async fn answer<R: Serialize + 'static>(run: impl Future<Output = Result<R>>) -> Outcome {
    reply(&run.await?).map(Answer::Reply)
}

/// A reply as data. What is JSON already is not written once more.
fn reply<R: Serialize + 'static>(value: &R) -> Result<RawJson> {
    let any: &dyn Any = value;
    let json = match any.downcast_ref::<RawJson>() {
        Some(json) => json.clone(),
        None if any.is::<()>() => RawJson::empty(),
        None => RawJson::from_value(value)?,
    };
    Ok(if json.is_null() { RawJson::empty() } else { json })
}

struct Relaying<F, A> {
    run: F,
    arguments: PhantomData<fn(A)>,
}

#[async_trait]
impl<F, A> Handler for Relaying<F, A>
where
    F: Fn(&Context, A) -> Result<Relay> + Send + Sync + 'static,
    A: DeserializeOwned + Send + 'static,
{
    async fn call(self: Arc<Self>, cx: Context, request: Request) -> Outcome {
        (self.run)(&cx, read_arguments(&request.data)?).map(Answer::Relay)
    }

    fn begin(self: Arc<Self>, cx: Context, _: &Arc<CommandKey>, arguments: &Arguments<'_>) -> Begun {
        Begun::Done(arguments.read().and_then(|args| (self.run)(&cx, args)).map(Answer::Relay))
    }
}

/// Reads a command's data into its argument type.
///
/// # Errors
/// Those of [`Arguments::read`].
pub fn read_arguments<A: DeserializeOwned>(data: &RawJson) -> Result<A> {
    Arguments::from(&Data::from(data)).read()
}

struct Raw<F> {
    run: F,
}

#[async_trait]
impl<F, Fut> Handler for Raw<F>
where
    F: Fn(Context, Request) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Outcome> + Send + 'static,
{
    async fn call(self: Arc<Self>, cx: Context, request: Request) -> Outcome {
        (self.run)(cx, request).await
    }
}
