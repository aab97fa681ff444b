//! Messages: from text to parts, and back (protocol §2).

mod close;
mod encode;
mod envelope;
/// Buffers that are passed from connection to connection.
pub mod spare;

pub use close::CloseReason;
pub use encode::{EventFrame, Framing, RequestFrame, put_ack, put_answer, put_error, put_event, put_request};
pub use envelope::{Envelope, Malformed, Message, Reply, Tid, parse};
