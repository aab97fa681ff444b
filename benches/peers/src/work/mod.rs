//! What the systems are made to do, a file each.

mod fan_out;
mod idle;
mod latency;
mod logins;
mod overload;
mod request_reply;
mod requester;
mod rpc;
mod start;
mod subscriber;
mod tail;

pub(crate) use self::start::{Started, start};

use std::{fmt, str::FromStr};

use clap::ValueEnum;

use crate::{link::Target, outcome::Metrics, process::Process, run::Plan};

/// A kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Work {
    Rpc,
    RequestReply,
    FanOut,
    Latency,
    Logins,
    Idle,
    Tail,
    Overload,
}

impl Work {
    /// Its name in results.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// Does it once.
    ///
    /// # Errors
    ///
    /// A message was lost, doubled or wrong, or the server does not do its part.
    pub(crate) async fn measure(self, setting: &Setting) -> Result<Metrics, String> {
        match self {
            Self::Rpc => rpc::measure(setting).await,
            Self::RequestReply => request_reply::measure(setting).await,
            Self::FanOut => fan_out::measure(setting).await,
            Self::Latency => latency::measure(setting).await,
            Self::Logins => logins::measure(setting).await,
            Self::Idle => idle::measure(setting).await,
            Self::Tail => tail::measure(setting).await,
            Self::Overload => overload::measure(setting).await,
        }
    }
}

/// How many connections, and how many messages each has in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) connections: usize,
    pub(crate) depth: usize,
    counts: Counts,
}

/// What `connections` counts where two belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counts {
    Requesters,
    All,
}

impl Shape {
    /// How many ask.
    pub(crate) fn requesters(&self) -> usize {
        match self.counts {
            Counts::Requesters => self.connections,
            Counts::All => self.connections / 2,
        }
    }
}

impl FromStr for Shape {
    type Err = String;

    /// `16x8`; `16x8-all` where the connections that answer are among the 16.
    fn from_str(text: &str) -> Result<Self, String> {
        let (numbers, counts) = match text.strip_suffix("-all") {
            Some(numbers) => (numbers, Counts::All),
            None => (text, Counts::Requesters),
        };
        let shape = numbers.split_once('x').and_then(|(connections, depth)| {
            Some(Self { connections: connections.parse().ok()?, depth: depth.parse().ok()?, counts })
        });
        shape.filter(|shape| shape.connections.min(shape.depth) > 0).ok_or_else(|| "not like 16x8".into())
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = if self.counts == Counts::All { "-all" } else { "" };
        write!(f, "{}x{}{counts}", self.connections, self.depth)
    }
}

/// All that a work needs to know.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    pub(crate) target: Target,
    pub(crate) server: Process,
    pub(crate) shape: Shape,
    pub(crate) plan: Plan,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_written_as_they_are_read() {
        for text in ["16x8", "64x1-all"] {
            assert_eq!(text.parse::<Shape>().unwrap().to_string(), text);
        }
        assert_eq!("64x1-all".parse::<Shape>().unwrap().requesters(), 32);
        for wrong in ["", "16", "0x1", "1x0", "axb"] {
            wrong.parse::<Shape>().unwrap_err();
        }
    }
}

/// Servers in the test's own process.
#[cfg(test)]
pub(crate) mod fakes {
    use std::time::Duration;

    use tokio::{
        io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
        net::TcpListener,
    };

    use super::*;
    use crate::{echo_server, system::System};

    /// A short measurement of 4x2 at this address, which counts this process as the server.
    pub(crate) fn setting(system: System, address: std::net::SocketAddr) -> Setting {
        let [warmup, measure, drain] = [10, 100, 10_000].map(Duration::from_millis);
        Setting {
            target: Target { system, address, unread: None },
            server: Process::new(std::process::id()),
            shape: "4x2".parse().unwrap(),
            plan: Plan { warmup, measure, drain },
        }
    }

    /// The echo server: settings over WebSocket and over lines.
    pub(crate) async fn echo() -> [Setting; 2] {
        let web_socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let lines = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addresses = [&web_socket, &lines].map(|listener| listener.local_addr().unwrap());
        tokio::spawn(echo_server::serve(web_socket, lines));
        let [web_socket, lines] = addresses;
        [setting(System::EchoWs, web_socket), setting(System::EchoTcp, lines)]
    }

    /// Sends every line back, the third of each connection so many times.
    pub(crate) async fn faulty(times: usize) -> Setting {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (read, mut write) = stream.into_split();
                    let mut lines = BufReader::new(read).lines();
                    let mut count = 0;
                    while let Ok(Some(line)) = lines.next_line().await {
                        count += 1;
                        let times = if count == 3 { times } else { 1 };
                        write.write_all(format!("{line}\n").repeat(times).as_bytes()).await.unwrap();
                    }
                });
            }
        });
        let mut setting = setting(System::EchoTcp, address);
        setting.plan.drain = Duration::from_millis(300);
        setting
    }
}
