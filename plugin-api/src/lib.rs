//! What a Jackfield plugin needs, and all it needs.
//!
//! A plugin registers what it has with the broker: commands, authenticators, authorizers, event filters, session
//! observers, log sinks, services. This one has a single command, and a test for it:
//!
//! ```
//! use async_trait::async_trait;
//! use jackfield_plugin_api::{
//!     Command, Context, Error, Manifest, Plugin, Registrar, Result, manifest, register_plugin, testing::Harness,
//! };
//! use schemars::JsonSchema;
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Deserialize, JsonSchema)]
//! struct Get {
//!     city: String,
//! }
//!
//! #[derive(Serialize, JsonSchema)]
//! struct Forecast {
//!     celsius: f32,
//! }
//!
//! struct Weather;
//!
//! impl Plugin for Weather {
//!     fn manifest(&self) -> Manifest {
//!         manifest!("weather").about("Forecasts.")
//!     }
//!
//!     fn register(&self, registrar: &mut Registrar) -> Result<()> {
//!         let get = Command::define("weather", "forecast", "get").about("The forecast for a city.").handler(get);
//!         registrar.command(get);
//!         Ok(())
//!     }
//! }
//!
//! async fn get(_cx: Context, args: Get) -> Result<Forecast> {
//!     match args.city.as_str() {
//!         "Madrid" => Ok(Forecast { celsius: 31.5 }),
//!         _ => Err(Error::custom(200_001, "No such city")),
//!     }
//! }
//!
//! // Linked into a broker, it can now be listed: `plugins = ["weather"]`.
//! register_plugin!(Weather);
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<()> {
//! let harness = Harness::new(Weather)?;
//! let answer = harness.call("weather", "forecast", "get", r#"{"city": "Madrid"}"#).await?;
//! assert_eq!(answer.as_str(), r#"{"celsius":31.5}"#);
//!
//! // Data is checked against the schema of `Get` before the handler runs.
//! let error = harness.call("weather", "forecast", "get", "{}").await.unwrap_err();
//! assert_eq!(error.text(), "Missing field: city");
//! # Ok(())
//! # }
//! ```
//!
//! Where things are:
//!
//! - [`Plugin`], [`Manifest`], [`Registrar`]: the plugin itself.
//! - [`Command`], [`Handler`], [`Context`]: serving requests.
//! - [`Authenticator`], [`Authorizer`]: who may log in, and do what. [`Caller`] has the client's certificate.
//! - [`EventFilter`], [`SessionObserver`], [`LogSink`], [`BrokerLogSink`], [`Service`]: the other extension points.
//! - [`Host`]: what a plugin may ask of the broker, [`Store`] and [`VirtualSession`] among it.
//! - [`RawJson`]: data that is passed on as it was written.
//! - [`ffi`], [`export_plugin!`]: plugins in libraries of their own, which a running broker loads.
//! - `testing`, with the feature of that name: a harness that runs a plugin without a broker.

pub mod auth;
pub mod certificate;
pub mod command;
pub mod context;
pub mod error;
pub mod event;
pub mod ffi;
pub mod host;
pub mod json;
pub mod log;
pub mod message;
pub mod permission;
pub mod plugin;
pub mod registration;
#[cfg(feature = "schema")]
pub mod schema;
pub mod service;
pub mod session;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;
pub mod virtual_session;

pub use auth::{Accepted, Authenticator, Authorizer, Decision, Login, Password, Ruling, Verdict};
pub use certificate::PeerCertificate;
pub use command::{Begun, CallMode, Command, Definition, Handler, NoArguments};
pub use context::{Call, Context};
pub use error::{Error, ErrorCode, Result};
pub use event::{Event, EventFilter, Filtered, ServiceScope, Subscription, Topic};
pub use host::{CommandInfo, Counter, Gauge, Host, PluginInfo, PluginSource, SessionRequest};
pub use json::{RawJson, RawObject};
pub use log::{BrokerLogSink, BrokerRecord, LogRecord, LogSink, Severity};
pub use message::{Answer, CommandKey, Outcome, Relay, Request};
pub use permission::{Action, Glob, Permission, Permissions};
pub use plugin::{Builtin, Exec, Manifest, Plugin, Registered, Registrar};
pub use registration::{AuthenticatorRegistration, IfLost, Registration};
pub use service::{Service, Shutdown};
pub use session::{
    Caller, EventMode, Identity, SessionChange, SessionChangeKind, SessionId, SessionInfo, SessionObserver,
    SessionRef, UserId, Who,
};
pub use store::Store;
pub use virtual_session::VirtualSession;

// For the macros.
#[doc(hidden)]
pub use inventory;
