//! Commands that a session serves.

use serde::Serialize;
use serde_json::Value;

/// Commands that the session serves for others: their requests reach the
/// [`on_request`](crate::ConnectOptions::on_request) handler. The broker takes that from those who have the
/// permission `register:class/subclass/cmd`.
///
/// Several sessions may serve the same; requests go round among them.
///
/// ```no_run
/// use jackfield_client::{AnswerError, Client, ConnectOptions, Login, Registration, Reply, ServerRequest};
/// use serde::Deserialize;
/// use serde_json::json;
///
/// #[derive(Deserialize)]
/// struct Get {
///     city: String,
/// }
///
/// async fn serve(request: ServerRequest) -> Result<Reply, AnswerError> {
///     match (request.subclass.as_str(), request.cmd.as_str()) {
///         ("forecast", "get") => {
///             let Get { city } = request.data_as()?;
///             // Who asks is always told for what was registered.
///             let user = request.from.map(|from| from.user);
///             // What takes longer than a second is acked by the client.
///             Ok(Reply::data(&json!({"city": city, "celsius": 31.5, "for": user})))
///         }
///         _ => Err(AnswerError::new(200_001, "No such command")),
///     }
/// }
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), jackfield_client::Error> {
/// let schema = json!({
///     "type": "object",
///     "required": ["city"],
///     "properties": {"city": {"type": "string", "minLength": 1}},
/// });
/// let get = Registration::of("weather")
///     .subclass("forecast")
///     .cmd("get")
///     .description("The forecast for a city.")
///     .data_schema(schema)
///     .retry();
/// let options = ConnectOptions::new("ws://127.0.0.1:9010")?
///     .login(Login::user("weather-1").password("secret"))
///     .register(get)
///     .on_request(serve);
/// // Registered now, and again after each reconnect.
/// let client = Client::connect(options).await?;
/// std::future::pending::<()>().await;
/// client.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Registration {
    class: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    subclass: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cmd: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_schema: Option<Value>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    retry: bool,
    inflight: Option<usize>,
}

impl Registration {
    /// Every command of a class that has no more exact registration.
    pub fn of(class: impl Into<String>) -> Self {
        Self {
            class: class.into(),
            subclass: None,
            cmd: None,
            description: None,
            data_schema: None,
            retry: false,
            inflight: None,
        }
    }

    /// Only those of this subclass.
    pub fn subclass(mut self, subclass: impl Into<String>) -> Self {
        self.subclass = Some(subclass.into());
        self
    }

    /// Only this command. The subclass must be named, too.
    pub fn cmd(mut self, cmd: impl Into<String>) -> Self {
        self.cmd = Some(cmd.into());
        self
    }

    /// What it does, for the registry.
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// A JSON Schema that the broker checks the data against, defaults filled in. It must hold no references.
    pub fn data_schema(mut self, schema: impl Into<Value>) -> Self {
        self.data_schema = Some(schema.into());
        self
    }

    /// Has the broker give a request to another session when this one goes away without an answer: only
    /// where doing it twice does no harm.
    pub fn retry(mut self) -> Self {
        self.retry = true;
        self
    }

    /// How many requests are sent to this session at once; as many as
    /// [`max_handlers`](crate::ConnectOptions::max_handlers) allows unless it is said here.
    pub fn inflight(mut self, requests: usize) -> Self {
        self.inflight = Some(requests);
        self
    }

    /// The same, with `requests` where it does not say how many.
    pub(crate) fn with_default_inflight(&self, requests: usize) -> Self {
        Self { inflight: self.inflight.or(Some(requests)), ..self.clone() }
    }
}
