//! What is measured.

use clap::ValueEnum;

use crate::{
    dialect::{Dialect, Echo, Events, Jackfield, Mqtt, Nats, Redis},
    framing::Framing,
};

/// A server, and the way to speak to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum System {
    EchoWs,
    EchoTcp,
    JackfieldWs,
    /// Subscribers answer every event.
    JackfieldWsAck,
    JackfieldTcp,
    NatsWs,
    NatsTcp,
    MosquittoWs,
    MosquittoTcp,
    RedisTcp,
}

impl System {
    /// Its name in results.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// How its messages are framed.
    pub(crate) fn framing(self) -> Framing {
        match self {
            Self::EchoWs | Self::JackfieldWs | Self::JackfieldWsAck => Framing::Text,
            Self::NatsWs | Self::MosquittoWs => Framing::Binary,
            Self::EchoTcp | Self::JackfieldTcp | Self::NatsTcp | Self::MosquittoTcp | Self::RedisTcp => {
                Framing::Plain
            }
        }
    }

    /// The WebSocket subprotocol that it insists on.
    pub(crate) fn subprotocol(self) -> Option<&'static str> {
        (self == Self::MosquittoWs).then_some("mqtt")
    }

    /// A connection's protocol.
    pub(crate) fn dialect(self) -> Box<dyn Dialect> {
        let framing = self.framing();
        match self {
            Self::EchoWs | Self::EchoTcp => Box::new(Echo::new(framing)),
            Self::JackfieldWs | Self::JackfieldTcp => Box::new(Jackfield::new(framing, Events::Push)),
            Self::JackfieldWsAck => Box::new(Jackfield::new(framing, Events::Ack)),
            Self::NatsWs | Self::NatsTcp => Box::new(Nats::default()),
            Self::MosquittoWs | Self::MosquittoTcp => Box::new(Mqtt),
            Self::RedisTcp => Box::new(Redis),
        }
    }
}
