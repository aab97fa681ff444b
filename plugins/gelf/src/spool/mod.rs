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
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::{
    config::SpoolSettings,
    meters::Reason,
    outlet::Outlet,
    queue::{BATCH_BYTES, BATCH_RECORDS},
};
use files::Files;

/// So long after a disk failed it is tried again.
const DISK_PAUSE: Duration = Duration::from_secs(1);

/// Somebody else's spool is asked for so often.
const LOCK_PAUSE: Duration = Duration::from_millis(50);

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
        let directory = settings.directory.join(directory_name(&outlet.server.to_string()));
        let mut told = false;
        let files = loop {
            let (path, bytes) = (directory.clone(), settings.bytes);
            match blocking(move || Files::open(&path, bytes)).await {
                Ok(Some(files)) => break files,
                Ok(None) => tokio::time::sleep(LOCK_PAUSE).await,
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

/// A directory for each server.
fn directory_name(server: &str) -> String {
    server
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-') { c } else { '_' })
        .collect()
}
