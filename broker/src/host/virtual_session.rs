use std::sync::Arc;

use jackfield_plugin_api::{RawJson, Result, VirtualSession};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, ReadHalf, WriteHalf},
    sync::mpsc,
};

use super::Connect;

/// How many bytes, and messages, may be on their way in each direction before the sender waits.
const BYTES: usize = 64 << 10;
const MESSAGES: usize = 64;

/// Opens a connection inside the process. The broker serves its end as any other that speaks lines, so that every
/// rule, limit and timer holds for it.
pub(super) fn open(connect: &dyn Connect, remote: &str) -> Result<VirtualSession> {
    let (near, far) = tokio::io::duplex(BYTES);
    connect.connect(Box::new(far), Arc::from(remote))?;
    let (read, write) = tokio::io::split(near);
    let (to_broker, outgoing) = mpsc::channel(MESSAGES);
    let (incoming, from_broker) = mpsc::channel(MESSAGES);
    // Not tracked: both end with the session that they carry.
    tokio::spawn(send(outgoing, write));
    tokio::spawn(receive(read, incoming));
    Ok(VirtualSession::new(to_broker, from_broker))
}

async fn send(mut messages: mpsc::Receiver<RawJson>, mut stream: WriteHalf<DuplexStream>) {
    while let Some(message) = messages.recv().await {
        let line = [message.as_str().as_bytes(), b"\n"].concat();
        if stream.write_all(&line).await.is_err() {
            return;
        }
    }
    // The plugin has dropped its end; the connection need not be told twice.
    stream.shutdown().await.ok();
}

async fn receive(stream: ReadHalf<DuplexStream>, messages: mpsc::Sender<RawJson>) {
    let mut lines = BufReader::new(stream).lines();
    loop {
        tokio::select! {
            line = lines.next_line() => {
                let Ok(Some(line)) = line else { return };
                let Ok(message) = RawJson::from_text(line) else { return };
                if messages.send(message).await.is_err() {
                    return;
                }
            }
            () = messages.closed() => return,
        }
    }
}
