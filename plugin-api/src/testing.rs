//! A harness that runs plugins in process, without a broker or a socket.
//!
//! It does with requests, logins and events what the broker does: looks commands up, checks permission and data,
//! walks the chains, catches panics. Timers, limits and queues are the broker's alone.

mod call;
mod connection;
mod harness;
mod host;
mod loaded;
mod order;
mod services;
mod store;
mod world;

use std::sync::Arc;

use crate::{
    certificate::PeerCertificate,
    error::Result,
    json::RawObject,
    session::{Caller, Identity, SessionId, SessionInfo, UserId, Who},
};

pub use connection::BrokerEnd;
pub use harness::Harness;
pub use services::RunningServices;
pub use store::MemoryStore;
pub use world::{PluginChange, Published, Registered, SentRequest};

/// The service that the harness plays.
pub const SERVICE: &str = "test";
/// The user in whose name [`Harness::call`] asks.
pub const USER: &str = "tester";
/// The session in whose name [`Harness::call`] asks.
pub const SESSION: &str = "test-session";

const REMOTE: &str = "test:1";

/// A live session, to be handed to [`Harness::add_session`].
///
/// # Errors
/// For an empty user or a bad session id.
pub fn session(user: &str, session_id: &str) -> Result<SessionInfo> {
    Ok(SessionInfo {
        session_id: SessionId::new(session_id)?,
        user: UserId::new(user)?,
        service: SERVICE.into(),
        remote: REMOTE.into(),
        metadata: Arc::new(RawObject::default()),
    })
}

/// A session as a caller.
pub fn caller(session: &SessionInfo) -> Arc<Caller> {
    who(Who::Session(identity(session, false)))
}

/// A session as a caller who is the administrator.
pub fn administrator(session: &SessionInfo) -> Arc<Caller> {
    who(Who::Session(identity(session, true)))
}

/// A connection that has not logged in, as a caller.
pub fn anonymous() -> Arc<Caller> {
    who(Who::Anonymous)
}

/// A TLS connection that has not logged in and has shown this certificate, as a caller.
pub fn anonymous_with(certificate: PeerCertificate) -> Arc<Caller> {
    let caller = Caller { certificate: Some(Arc::new(certificate)), ..Caller::clone(&anonymous()) };
    Arc::new(caller)
}

fn identity(session: &SessionInfo, administrator: bool) -> Identity {
    Identity {
        user: session.user.clone(),
        session_id: session.session_id.clone(),
        administrator,
        permissions: None,
    }
}

fn who(who: Who) -> Arc<Caller> {
    Arc::new(Caller { connection: 1, service: SERVICE.into(), remote: REMOTE.into(), certificate: None, who })
}
