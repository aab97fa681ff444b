use bytes::BytesMut;
use jackfield_plugin_api::{Error, ErrorCode, RawJson, Result, SessionRequest};
use tokio::sync::oneshot;

use crate::{
    codec::put_request,
    event::sender,
    lifecycle::Sessions,
    session::{Frame, Session, Waiter},
};

/// A request that was sent to a session.
pub(super) struct Sent(oneshot::Receiver<Result<RawJson>>);

impl Sent {
    /// Waits for the answer, within the time that the session's connection keeps.
    pub(super) async fn answer(self) -> Result<RawJson> {
        self.0.await.unwrap_or_else(|_| Err(Error::new(ErrorCode::SessionStop)))
    }
}

/// Queues a request for a session, under an id of the broker's own.
pub(super) fn send(sessions: &Sessions, session: &Session, request: SessionRequest) -> Result<Sent> {
    let SessionRequest { command, data, from, relay_acks } = request;
    let tid = sessions.events.next_tid();
    let from = from.filter(|_| session.identify).and_then(|caller| sender(&caller));
    let mut bytes = BytesMut::new();
    put_request(&mut bytes, session.link.framing, &command, &data, from.as_deref(), tid);
    let (reply, answer) = oneshot::channel();
    let frame = Frame::Request { bytes: bytes.freeze(), tid, waiter: Waiter { reply, acks: relay_acks } };
    let limit = sessions.settings.load().limits.outbound_bytes;
    session.link.push(frame, limit).map_err(|_| Error::new(ErrorCode::SessionStop))?;
    sessions.metrics.session_requests.increment(1);
    Ok(Sent(answer))
}
