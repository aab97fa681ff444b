//! What waits for a server, on disk.
//!
//! Every record goes through it, so that what was accepted survives a broker that is killed. Files are written and read
//! by threads that may block.

mod files;

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::{
    config::SpoolSettings,
    meters::Reason,
    outlet::Outlet,
    queue::{BATCH_BYTES, BATCH_RECORDS},
    server::Server,
};
use files::Files;

/// So long after a disk failed it is tried again.
const DISK_PAUSE: Duration = Duration::from_secs(1);

/// Somebody else's spool is asked for so often.
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// A plugin that was replaced gives its spool up by then; whoever has it longer is somebody else.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);

/// The spool of one server.
pub(crate) struct Spool {
    files: Arc<Mutex<Files>>,
    outlet: Arc<Outlet>,
    filled: Notify,
    emptied: Notify,
    closed: AtomicBool,
}

impl Spool {
    /// Opens a server's spool with what is left in it, as soon as nobody else has it open and the disk lets it.
    pub(crate) async fn open(settings: &SpoolSettings, outlet: Arc<Outlet>) -> Self {
        let directory = settings.directory.join(directory_name(outlet.service(), &outlet.server));
        let (since, mut told) = (Instant::now(), false);
        let files = loop {
            let (path, bytes) = (directory.clone(), settings.bytes);
            match blocking(move || Files::open(&path, bytes)).await {
                Ok(Some(files)) => break files,
                Ok(None) => {
                    if since.elapsed() > LOCK_PATIENCE && !std::mem::replace(&mut told, true) {
                        tracing::error!(directory = %directory.display(), "the spool is in use elsewhere; what is logged waits");
                    }
                    tokio::time::sleep(LOCK_PAUSE).await;
                }
                Err(error) => {
                    if !std::mem::replace(&mut told, true) {
                        tracing::error!(directory = %directory.display(), %error, "cannot open the spool");
                    }
                    tokio::time::sleep(DISK_PAUSE).await;
                }
            }
        };
        outlet.meters().spool_bytes.set(as_gauge(files.bytes()));
        Self {
            files: Arc::new(Mutex::new(files)),
            outlet,
            filled: Notify::new(),
            emptied: Notify::new(),
            closed: AtomicBool::new(false),
        }
    }

    /// Moves what comes into the queue to the disk, until the queue is closed and empty.
    pub(crate) async fn fill(&self) {
        while let Some(records) = self.outlet.queue.next().await {
            let written = self.append(records).await;
            self.outlet.done(written);
        }
        self.closed.store(true, Ordering::Release);
        self.filled.notify_one();
    }

    /// Appends records, and says how many: not all when the spool is full, and then only after it was waited for.
    async fn append(&self, records: Vec<Bytes>) -> usize {
        match self.on_files(move |files| files.append(&records)).await {
            Ok(appended) => {
                self.drop_for(Reason::TooLarge, appended.too_large);
                let done = appended.written + appended.too_large;
                self.filled.notify_one();
                if done == 0 {
                    self.emptied.notified().await;
                }
                done
            }
            Err(error) => {
                tracing::warn!(server = %self.outlet.server, %error, "cannot write to the spool");
                tokio::time::sleep(DISK_PAUSE).await;
                0
            }
        }
    }

    /// As [`Queue::next`](crate::queue::Queue::next).
    pub(crate) async fn next(&self) -> Option<Vec<Bytes>> {
        loop {
            // Before the files are looked at: what was written before it is seen then.
            let closed = self.closed.load(Ordering::Acquire);
            match self.on_files(|files| files.read(BATCH_RECORDS, BATCH_BYTES)).await {
                Ok(read) => {
                    if read.corrupt > 0 {
                        tracing::warn!(server = %self.outlet.server, records = read.corrupt, "parts of the spool cannot be read");
                        self.drop_for(Reason::Corrupt, read.corrupt);
                    }
                    if !read.records.is_empty() {
                        return Some(read.records);
                    }
                    if closed {
                        return None;
                    }
                    // What cannot be read takes no room any more.
                    self.emptied.notify_one();
                    self.filled.notified().await;
                }
                Err(error) => {
                    tracing::warn!(server = %self.outlet.server, %error, "cannot read the spool");
                    tokio::time::sleep(DISK_PAUSE).await;
                }
            }
        }
    }

    /// As [`Queue::done`](crate::queue::Queue::done).
    pub(crate) async fn done(&self, n: usize) {
        if let Err(error) = self.on_files(move |files| files.done(n)).await {
            // They will be sent again after a restart.
            tracing::warn!(server = %self.outlet.server, %error, "cannot note in the spool what was sent");
        }
        self.emptied.notify_one();
    }

    /// Whether nothing is added any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    fn drop_for(&self, reason: Reason, n: usize) {
        self.outlet.meters().dropped(reason, n);
    }

    async fn on_files<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Files) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let files = Arc::clone(&self.files);
        let (result, bytes) = blocking(move || {
            let mut files = files.lock();
            let result = work(&mut files)?;
            Ok((result, files.bytes()))
        })
        .await?;
        self.outlet.meters().spool_bytes.set(as_gauge(bytes));
        Ok(result)
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

#[expect(clippy::cast_precision_loss, reason = "a gauge of bytes")]
fn as_gauge(bytes: u64) -> f64 {
    bytes as f64
}

/// How much of a directory's name is for people.
const READABLE: usize = 100;

/// A directory for each server of each service. The query is left out: a token in it may change, and what waits is still
/// for the same server.
pub(crate) fn directory_name(service: &str, server: &Server) -> String {
    let readable = format!("{service}-{}", server.address());
    let hash = crc32fast::hash(format!("{readable} {}", server.path_alone()).as_bytes());
    let fits = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-') { c } else { '_' };
    let readable: String = readable.chars().take(READABLE).map(fits).collect();
    format!("{readable}-{hash:08x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_server_of_every_service_has_a_directory() {
        let name = |service: &str, url: &str| directory_name(service, &Server::parse(url).unwrap());
        let one = name("main", "http://u:secret@log.example.com/a?token=secret");
        assert!(one.starts_with("main-http___log.example.com_80-") && !one.contains("secret"), "{one}");
        assert_eq!(name("main", "http://log.example.com/a?token=other"), one);
        let others = [
            name("other", "http://log.example.com/a"),
            name("main", "http://log.example.com/b"),
            name("main", "http://log.example.com:81/a"),
            name("main", "https://log.example.com:80/a"),
            name("main", "http://a_b"),
            name("main", "http://aéb"),
            name("main", "http://aüb"),
            name("a-b", "http://c"),
            name("../a", "http://c"),
        ];
        let different: std::collections::HashSet<&String> = others.iter().chain([&one]).collect();
        assert_eq!(different.len(), others.len() + 1);
        assert!(others.iter().all(|name| !name.contains('/') && name.len() < 120));
    }
}
