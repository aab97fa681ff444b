use jackfield_plugin_api::ErrorCode;

/// Why the broker ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The client went away, or closed its sending half.
    Gone,
    /// The broker stops.
    Shutdown,
    /// `session stop`.
    Stopped,
    /// The outbound queue was full, or the socket took nothing.
    SlowConsumer,
    /// No login, or a request or ping was not answered.
    Silent,
    /// What the authenticator granted has expired.
    Expired,
    /// Too many failed logins, or a session id that cannot be had.
    Authentication(ErrorCode),
    /// A message that is no message.
    Syntax,
    /// A message over the limit.
    TooLarge,
    /// A violation of the WebSocket protocol.
    Protocol,
    /// `limits.connections`.
    Connections,
}

impl CloseReason {
    /// The WebSocket close code (protocol §2).
    pub const fn code(self) -> u16 {
        match self {
            Self::Gone => 1000,
            Self::Shutdown => 1001,
            Self::Protocol => 1002,
            Self::Syntax => 1007,
            Self::TooLarge => 1009,
            Self::Connections => 1013,
            Self::Stopped => 4000,
            Self::SlowConsumer => 4001,
            Self::Silent | Self::Expired => 4002,
            Self::Authentication(_) => 4003,
        }
    }

    /// The name that closes, events and logs carry: an error's, where one fits.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gone => "closed",
            Self::Shutdown => ErrorCode::ShuttingDown.name(),
            Self::Protocol => "protocol_error",
            Self::Syntax => ErrorCode::SyntaxError.name(),
            Self::TooLarge => ErrorCode::MessageTooLarge.name(),
            Self::Connections => ErrorCode::LimitExceeded.name(),
            Self::Stopped => ErrorCode::SessionStop.name(),
            Self::SlowConsumer => ErrorCode::SlowConsumer.name(),
            Self::Silent => ErrorCode::Timeout.name(),
            Self::Expired => ErrorCode::SessionTimeout.name(),
            Self::Authentication(error) => error.name(),
        }
    }

    /// Whether what is queued is still worth writing.
    pub const fn keeps_queue(self) -> bool {
        !matches!(self, Self::SlowConsumer | Self::Protocol)
    }
}
