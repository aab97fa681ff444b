use std::sync::Arc;

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;

use super::{
    files::{Contents, Digest, FileProblem},
    material::Material,
};

/// Holds what a service's TLS handshakes go by, and follows its files. Connections that are made keep what they were
/// made with.
#[derive(Default)]
pub struct Keeper {
    current: ArcSwapOption<Material>,
    /// What the files were when they last were something new.
    noticed: Mutex<Option<Noticed>>,
}

#[derive(PartialEq, Eq)]
enum Noticed {
    Contents(Digest),
    Unreadable(FileProblem),
}

/// What a look at the files brought.
#[derive(Debug, PartialEq, Eq)]
pub enum Look {
    /// Nothing new.
    Unchanged,
    /// New files, which new connections use from now on.
    Renewed,
    /// New files that cannot be used; the old ones stay in use. Said once for each change.
    Bad(FileProblem),
}

impl Keeper {
    /// What is in force; `None` where the service has no certificate.
    pub fn current(&self) -> Option<Arc<Material>> {
        self.current.load_full()
    }

    /// Puts a configuration in force. Where nothing has changed, all stays, tickets included; where there is no TLS any
    /// more, what was in force stays too: listeners wait for a restart.
    pub fn replace(&self, material: Option<Material>) {
        let Some(material) = material else { return };
        if self.current().is_none_or(|current| !current.same(&material)) {
            self.current.store(Some(Arc::new(material)));
        }
    }

    /// Reads the files, and takes them into use when they are new. Blocks the thread.
    pub fn look(&self) -> Look {
        let Some(current) = self.current() else { return Look::Unchanged };
        let read = Contents::read(current.source());
        let found = match &read {
            Ok(contents) => Noticed::Contents(contents.digest()),
            Err(problem) => Noticed::Unreadable(problem.clone()),
        };
        let mut noticed = self.noticed.lock();
        if found == Noticed::Contents(current.digest()) {
            *noticed = None;
            return Look::Unchanged;
        }
        if noticed.as_ref() == Some(&found) {
            return Look::Unchanged;
        }
        *noticed = Some(found);
        match read.and_then(|contents| Material::build(current.source(), &contents)) {
            Ok(material) => {
                // Not over what a reload of the configuration has put in force meanwhile.
                self.current.compare_and_swap(&Some(current), Some(Arc::new(material)));
                Look::Renewed
            }
            Err(problem) => Look::Bad(problem),
        }
    }
}
