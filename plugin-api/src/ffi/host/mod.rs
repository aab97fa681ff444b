//! The broker's side: a library's table, and its plugin as a [`Plugin`] like any other.

mod adapters;
mod ask;
mod call;
mod health;
mod instance;
mod table;

use std::{
    mem::{MaybeUninit, offset_of},
    ptr,
    sync::Arc,
    time::Duration,
};

use super::{
    abi::{ABI_MAJOR, ABI_MINOR, ABORTS, MAGIC, PluginTable, UNWINDS},
    slot::at_once,
    wire::{ManifestText, read},
};
use crate::{
    error::{Error, ErrorCode, Result},
    json::RawJson,
    plugin::{Manifest, Plugin, Registrar},
};
pub use health::Health;
use instance::Instance;

/// The table of a library that passed the handshake. Cloning costs two reference counts.
#[derive(Clone, Debug)]
pub struct Library {
    table: Arc<PluginTable>,
    toolchain: Arc<str>,
}

/// Why a library is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// What is exported is no plugin's table.
    #[error("expected the magic number {MAGIC:#018x} in jackfield_plugin_v1, found {found:#018x}")]
    Magic {
        /// What is there.
        found: u64,
    },
    /// The table is too short to be one.
    #[error("expected a table of at least {least} bytes, found {found}")]
    Size {
        /// The smallest that there ever was.
        least: usize,
        /// What the library says.
        found: u32,
    },
    /// Another ABI.
    #[error("expected ABI version {ABI_MAJOR}, found {found}")]
    Major {
        /// The library's.
        found: u32,
    },
    /// The library wants more than this broker has.
    #[error(
        "expected ABI version {ABI_MAJOR}.{ABI_MINOR} or below, found {ABI_MAJOR}.{found}: it needs a newer broker"
    )]
    Minor {
        /// The library's.
        found: u32,
    },
    /// A panic in it would end the broker.
    #[error("expected a library that unwinds, found {}", panics(.found))]
    Panics {
        /// What the library says.
        found: u32,
    },
    /// A function that every plugin has is not there.
    #[error("expected the function '{0}', found NULL")]
    Function(&'static str),
}

fn panics(found: &u32) -> String {
    match *found {
        ABORTS => "one that was built with panic = \"abort\"".to_owned(),
        other => format!("panic strategy {other}"),
    }
}

/// How long the table of version 1.0 is: `destroy` was its last function.
const SMALLEST_TABLE: usize = offset_of!(PluginTable, destroy) + size_of::<usize>();

/// Reads what a library has of a table: an older one has less, and the functions that it does not know are not there;
/// a newer one has more, which nobody here knows.
///
/// # Safety
/// `table` points to a table of `size` bytes.
#[allow(unsafe_code, reason = "reads a foreign table")]
pub(super) unsafe fn read_table(table: *const PluginTable, size: usize) -> PluginTable {
    let mut read = MaybeUninit::<PluginTable>::zeroed();
    let known = size.min(size_of::<PluginTable>());
    // No half of a pointer.
    let known = known - known % size_of::<usize>();
    // SAFETY: both are at least so long, and numbers, absent text and functions that are not there are all zeros.
    unsafe {
        ptr::copy_nonoverlapping(table.cast::<u8>(), read.as_mut_ptr().cast::<u8>(), known);
        read.assume_init()
    }
}

impl Library {
    /// Checks a library's table: magic number, size, version, panic strategy, functions.
    ///
    /// # Errors
    /// What does not fit, and what was expected.
    ///
    /// # Safety
    /// `table` points to what a library exports under the name [`SYMBOL`](super::SYMBOL). The library stays mapped for
    /// as long as the process runs, and keeps the promises of `jackfield_plugin.h`.
    #[allow(unsafe_code, reason = "reads a foreign table")]
    pub unsafe fn new(table: *const PluginTable) -> Result<Self, Refused> {
        // Field by field, each only once the one before it says that it is there.
        // SAFETY: the caller's promise: at least the head of the table is there. Its magic says that the size is.
        let magic = unsafe { ptr::addr_of!((*table).magic).read_unaligned() };
        if magic != MAGIC {
            return Err(Refused::Magic { found: magic });
        }
        // SAFETY: as above.
        let [size, major, minor, panics] = unsafe {
            [
                ptr::addr_of!((*table).size).read_unaligned(),
                ptr::addr_of!((*table).abi_major).read_unaligned(),
                ptr::addr_of!((*table).abi_minor).read_unaligned(),
                ptr::addr_of!((*table).panic_strategy).read_unaligned(),
            ]
        };
        match (size as usize, major, minor, panics) {
            (_, found, _, _) if found != ABI_MAJOR => Err(Refused::Major { found }),
            (_, _, found, _) if found > ABI_MINOR => Err(Refused::Minor { found }),
            (found, _, _, _) if found < SMALLEST_TABLE => {
                Err(Refused::Size { least: SMALLEST_TABLE, found: size })
            }
            (_, _, _, found) if found != UNWINDS => Err(Refused::Panics { found }),
            // SAFETY: the table says that it is so long.
            (found, ..) => Self::with_functions(unsafe { read_table(table, found) }),
        }
    }

    #[allow(unsafe_code, reason = "reads text of the library")]
    fn with_functions(table: PluginTable) -> Result<Self, Refused> {
        let needed = [
            ("manifest", table.manifest.is_some()),
            ("create", table.create.is_some()),
            ("register_all", table.register_all.is_some()),
            ("destroy", table.destroy.is_some()),
        ];
        if let Some((name, _)) = needed.into_iter().find(|(_, there)| !there) {
            return Err(Refused::Function(name));
        }
        // SAFETY: the library is never unmapped.
        let toolchain = unsafe { table.toolchain.get() }.unwrap_or_default().into();
        Ok(Self { table: Arc::new(table), toolchain })
    }

    /// What it was built with.
    pub fn toolchain(&self) -> &str {
        &self.toolchain
    }

    /// The version of the ABI that it speaks.
    pub fn abi_version(&self) -> (u32, u32) {
        (self.table.abi_major, self.table.abi_minor)
    }

    /// Reads its manifest.
    ///
    /// # Errors
    /// `plugin_unavailable` when it gives none that can be read.
    #[allow(unsafe_code, reason = "calls into the library")]
    pub fn plugin(&self) -> Result<LibraryPlugin> {
        let broken = |what: String| Error::about(ErrorCode::PluginUnavailable, what);
        let function = self.table.manifest.ok_or_else(|| broken("no manifest".to_owned()))?;
        // SAFETY: the ABI says that it may be called at any time, and answers at once.
        let end = at_once(|completion| unsafe { function(completion) });
        let json = answer(end).map_err(|error| broken(format!("its manifest: {error}")))?;
        let text: ManifestText = read(&json).map_err(|error| broken(format!("its manifest: {error}")))?;
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if text.name.is_empty() || !text.name.bytes().all(fits) {
            return Err(broken(format!(
                "its name is '{}', expected lower case letters, digits and '-'",
                text.name
            )));
        }
        let ManifestText { name, version, about, depends, config_schema, exec } = text;
        let manifest = Manifest { name, version, about, depends, config_schema, exec };
        Ok(LibraryPlugin { library: self.clone(), manifest, health: Arc::default() })
    }
}

/// The answer of a function that answers at once; a panic is an error here.
fn answer(end: super::slot::End) -> Result<RawJson, String> {
    use super::slot::End;
    match end {
        End::Ok(json) => Ok(json),
        End::Error(error) => Err(error.text().to_owned()),
        End::Panic(message) => Err(format!("it panicked: {message}")),
        End::Continue(_) | End::Drop | End::Cancelled => Err("it gave no answer".to_owned()),
    }
}

/// A plugin in a library. What it registers works by way of an instance in the library, which is destroyed when the
/// last of it is dropped, on a thread of its own.
#[derive(Debug)]
pub struct LibraryPlugin {
    library: Library,
    manifest: Manifest,
    health: Arc<Health>,
}

impl LibraryPlugin {
    /// How it is doing.
    pub fn health(&self) -> Arc<Health> {
        Arc::clone(&self.health)
    }

    /// The library that it is in.
    pub fn library(&self) -> &Library {
        &self.library
    }
}

impl Plugin for LibraryPlugin {
    fn manifest(&self) -> Manifest {
        self.manifest.clone()
    }

    fn register(&self, registrar: &mut Registrar) -> Result<()> {
        let instance = Instance::create(&self.library, &self.manifest, &self.health, registrar.host())?;
        adapters::register(&instance, registrar)
    }
}

/// Waits until every instance that is not used any more is destroyed, `limit` at most, and says whether all are.
pub fn wait_until_destroyed(limit: Duration) -> bool {
    instance::wait_until_destroyed(limit)
}

/// The same text for as long as the process runs. There are few: names of fields and labels, the same at every load.
fn intern(text: &str) -> &'static str {
    static KNOWN: parking_lot::Mutex<Vec<&'static str>> = parking_lot::Mutex::new(Vec::new());
    let mut known = KNOWN.lock();
    if let Some(known) = known.iter().find(|known| **known == text) {
        return known;
    }
    let text: &'static str = Box::leak(text.into());
    known.push(text);
    text
}
