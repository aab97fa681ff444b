//! Receivers that keep what arrives.

use std::collections::HashMap;
use std::io::Read;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::support::eventually;

/// What arrived, whole messages apart; for UDP, datagrams.
pub type Arrived = Arc<Mutex<Vec<Vec<u8>>>>;

/// A receiver; it ends, with its connections, when it is dropped.
pub struct Receiver {
    pub address: SocketAddr,
    arrived: Arrived,
    tasks: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.tasks.lock().unwrap().drain(..).for_each(|task| task.abort());
    }
}

/// What an HTTP receiver answers, and whether it keeps the message.
pub type Answer = Arc<dyn Fn(usize) -> &'static str + Send + Sync>;

pub const ACCEPTED: &str = "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n";

impl Receiver {
    pub async fn udp() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let receiver = Self::at(socket.local_addr().unwrap());
        let arrived = Arc::clone(&receiver.arrived);
        receiver.spawn(async move {
            let mut buffer = vec![0; 65_536];
            while let Ok(length) = socket.recv(&mut buffer).await {
                arrived.lock().unwrap().push(buffer[..length].to_vec());
            }
        });
        receiver
    }

    pub async fn tcp() -> Self {
        Self::tcp_at("127.0.0.1:0".parse().unwrap()).await
    }

    pub async fn tcp_at(address: SocketAddr) -> Self {
        Self::stream(listener(address).await, None)
    }

    pub async fn tls(acceptor: TlsAcceptor) -> Self {
        Self::stream(listener("127.0.0.1:0".parse().unwrap()).await, Some(acceptor))
    }

    fn stream(listener: TcpListener, acceptor: Option<TlsAcceptor>) -> Self {
        let receiver = Self::at(listener.local_addr().unwrap());
        let arrived = Arc::clone(&receiver.arrived);
        let tasks = Arc::clone(&receiver.tasks);
        receiver.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (arrived, acceptor) = (Arc::clone(&arrived), acceptor.clone());
                let task = tokio::spawn(async move {
                    match acceptor {
                        None => read_frames(stream, &arrived).await,
                        Some(acceptor) => {
                            if let Ok(stream) = acceptor.accept(stream).await {
                                read_frames(stream, &arrived).await;
                            }
                        }
                    }
                });
                tasks.lock().unwrap().push(task);
            }
        });
        receiver
    }

    pub async fn http(answer: Answer) -> Self {
        Self::http_at("127.0.0.1:0".parse().unwrap(), None, answer).await
    }

    pub async fn http_at(address: SocketAddr, acceptor: Option<TlsAcceptor>, answer: Answer) -> Self {
        let listener = listener(address).await;
        let receiver = Self::at(listener.local_addr().unwrap());
        let arrived = Arc::clone(&receiver.arrived);
        let tasks = Arc::clone(&receiver.tasks);
        let count = Arc::new(AtomicUsize::new(0));
        receiver.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (arrived, answer, count) =
                    (Arc::clone(&arrived), Arc::clone(&answer), Arc::clone(&count));
                let acceptor = acceptor.clone();
                let task = tokio::spawn(async move {
                    match acceptor {
                        None => serve_http(stream, &arrived, &answer, &count).await.unwrap_or_default(),
                        Some(acceptor) => {
                            if let Ok(stream) = acceptor.accept(stream).await {
                                serve_http(stream, &arrived, &answer, &count).await.unwrap_or_default();
                            }
                        }
                    }
                });
                tasks.lock().unwrap().push(task);
            }
        });
        receiver
    }

    /// Accepts connections, and never reads.
    pub async fn stalled() -> Self {
        let listener = listener("127.0.0.1:0".parse().unwrap()).await;
        let receiver = Self::at(listener.local_addr().unwrap());
        receiver.spawn(async move {
            let mut held = Vec::new();
            while let Ok(connection) = listener.accept().await {
                held.push(connection);
            }
        });
        receiver
    }

    /// Answers whatever it gets with what is no answer.
    pub async fn garbage() -> Self {
        let listener = listener("127.0.0.1:0".parse().unwrap()).await;
        let receiver = Self::at(listener.local_addr().unwrap());
        receiver.spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut buffer = [0; 4096];
                while stream.read(&mut buffer).await.is_ok_and(|length| length > 0)
                    && stream.write_all(b"\0\x01what?\r\n\r\n\xff\xfe").await.is_ok()
                {}
            }
        });
        receiver
    }

    fn at(address: SocketAddr) -> Self {
        Self { address, arrived: Arrived::default(), tasks: Arc::default() }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.lock().unwrap().push(tokio::spawn(task));
    }

    pub fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}", self.address)
    }

    pub fn count(&self) -> usize {
        self.arrived.lock().unwrap().len()
    }

    /// What arrived so far; each must be a message.
    pub fn records(&self) -> Vec<Value> {
        let arrived = self.arrived.lock().unwrap();
        joined(&arrived).iter().map(|text| decoded(text)).collect()
    }

    /// The numbers of what arrived so far; each must be a message.
    pub fn numbers(&self) -> Vec<u64> {
        #[derive(serde::Deserialize)]
        struct Numbered {
            version: String,
            #[serde(rename = "_n")]
            n: u64,
        }
        let arrived = self.arrived.lock().unwrap();
        let number = |text: &Vec<u8>| {
            let record: Numbered = serde_json::from_slice(text).unwrap();
            assert_eq!(record.version, "1.1");
            record.n
        };
        arrived.iter().map(number).collect()
    }

    /// What arrived so far, as it came.
    pub fn raw(&self) -> Vec<Vec<u8>> {
        self.arrived.lock().unwrap().clone()
    }

    /// Waits until so many have arrived.
    pub async fn until(&self, count: usize) -> Vec<Value> {
        eventually(&format!("{count} records at {}", self.address), || self.records().len() >= count).await;
        self.records()
    }
}

/// The address may still be in use for a moment.
async fn listener(address: SocketAddr) -> TcpListener {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(address).unwrap();
    socket.listen(1024).unwrap()
}

async fn read_frames(stream: impl AsyncRead + Unpin, arrived: &Arrived) {
    let mut reader = BufReader::with_capacity(1 << 16, stream);
    loop {
        let mut frame = Vec::new();
        match reader.read_until(0, &mut frame).await {
            Ok(length) if length > 0 && frame.pop() == Some(0) => arrived.lock().unwrap().push(frame),
            // The end, or a record that was cut short: it comes again.
            _ => return,
        }
    }
}

/// Keeps the bodies of the requests that it accepts.
async fn serve_http(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    arrived: &Arrived,
    answer: &Answer,
    count: &AtomicUsize,
) -> Option<()> {
    let mut stream = BufReader::with_capacity(1 << 14, stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head).await.ok()? == 0 {
                return None;
            }
        }
        assert!(head.starts_with("POST /"), "{head}");
        let field = |name: &str| {
            head.lines()
                .find_map(|line| line.split_once(": ").filter(|(key, _)| key.eq_ignore_ascii_case(name)))
        };
        let mut body = vec![0; field("content-length")?.1.parse().ok()?];
        stream.read_exact(&mut body).await.ok()?;
        let answer = answer(count.fetch_add(1, Ordering::Relaxed));
        if answer.contains(" 202 ") {
            arrived.lock().unwrap().push(body);
        }
        stream.write_all(answer.as_bytes()).await.ok()?;
        stream.flush().await.ok()?;
    }
}

/// Puts chunks together.
fn joined(datagrams: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut chunks: HashMap<Vec<u8>, Vec<Option<Vec<u8>>>> = HashMap::new();
    let mut whole = Vec::new();
    for datagram in datagrams {
        if !datagram.starts_with(&[0x1e, 0x0f]) {
            whole.push(datagram.clone());
            continue;
        }
        let (number, count) = (datagram[10] as usize, datagram[11] as usize);
        assert!(number < count && count <= 128);
        let parts = chunks.entry(datagram[2..10].to_vec()).or_insert_with(|| vec![None; count]);
        assert_eq!(parts.len(), count);
        assert!(parts[number].replace(datagram[12..].to_vec()).is_none(), "a chunk came twice");
        if parts.iter().all(Option::is_some) {
            whole.push(parts.iter_mut().flat_map(|part| part.take().unwrap()).collect());
            chunks.remove(&datagram[2..10]);
        }
    }
    whole
}

fn decoded(message: &[u8]) -> Value {
    let mut text = Vec::new();
    match message {
        [0x78, ..] => drop(flate2::read::ZlibDecoder::new(message).read_to_end(&mut text).unwrap()),
        [0x1f, 0x8b, ..] => drop(flate2::read::GzDecoder::new(message).read_to_end(&mut text).unwrap()),
        _ => text = message.to_vec(),
    }
    serde_json::from_slice(&text)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&text)))
}
