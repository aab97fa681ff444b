//! The way to one server, as those who log see it.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use jackfield_plugin_api::Host;

use crate::{
    config::Settings,
    meters::{Meters, Reason},
    queue::{NoRoom, Queue},
    server::Server,
};

/// A server, what waits for it, and what is counted of it.
pub(crate) struct Outlet {
    pub(crate) server: Server,
    pub(crate) queue: Queue,
    host: Arc<dyn Host>,
    meters: OnceLock<Meters>,
}

impl Outlet {
    pub(crate) fn new(server: Server, settings: &Settings, host: Arc<dyn Host>) -> Self {
        let queue = Queue::new(settings.queue_bytes, settings.overflow);
        Self { server, queue, host, meters: OnceLock::new() }
    }

    /// The service that logs.
    pub(crate) fn service(&self) -> &str {
        self.host.service()
    }

    /// Its metrics, registered when they are first needed: a plugin that was only prepared leaves none.
    pub(crate) fn meters(&self) -> &Meters {
        self.meters.get_or_init(|| Meters::new(&*self.host, &self.server))
    }

    /// The `n` oldest records are done with.
    pub(crate) fn done(&self, n: usize) {
        self.show(self.queue.done(n));
    }

    /// Gives up what is left in memory, and counts it.
    pub(crate) fn abandon(&self) -> usize {
        let left = self.queue.abandon();
        self.meters().dropped(Reason::Stopped, left);
        self.show(0);
        left
    }

    #[expect(clippy::cast_precision_loss, reason = "a gauge of bytes")]
    fn show(&self, bytes: usize) {
        self.meters().queue_bytes.set(bytes as f64);
    }
}

/// Queues a record for every server, or for none: accepted means that all get it.
pub(crate) fn push_to_all(outlets: &[Arc<Outlet>], record: &Bytes) -> Result<(), NoRoom> {
    // Always in the same order, so nobody waits for each other.
    let entries: Vec<_> = outlets.iter().map(|outlet| (outlet, outlet.queue.enter())).collect();
    let full: Vec<_> =
        entries.iter().filter_map(|(outlet, entry)| Some((*outlet, entry.admits(record).err()?))).collect();
    if let Some((_, why)) = full.first().copied() {
        drop(entries);
        for (outlet, _) in full {
            outlet.meters().dropped(Reason::Refused, 1);
        }
        return Err(why);
    }
    for (outlet, entry) in entries {
        let (dropped, bytes) = entry.push(record.clone());
        outlet.meters().dropped(Reason::Oldest, dropped);
        outlet.show(bytes);
    }
    Ok(())
}
