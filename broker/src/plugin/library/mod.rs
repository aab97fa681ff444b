//! Libraries: from a file to a checked table of functions.
//!
//! Before a library is opened, nothing of it has run and its file was looked at from end to end. Opening runs its
//! constructors, so `library_sha256` can say which may be. What is opened is a copy under a name of its own, for the same
//! path may give the old code again; it is never closed, for no library with thread-local destructors can be.
#![expect(unsafe_code, reason = "opens libraries of the C ABI")]

mod image;

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    path::{Path, PathBuf},
};

use aws_lc_rs::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use jackfield_plugin_api::ffi::{self, host::Library};
use libloading::os::unix::{self, RTLD_LOCAL, RTLD_NOW};
use parking_lot::Mutex;

use image::Unfit;

/// The SHA-256 sum of a library.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Digest([u8; SHA256_OUTPUT_LEN]);

impl Digest {
    fn of(bytes: &[u8]) -> Self {
        let mut sum = [0; SHA256_OUTPUT_LEN];
        // As long as the sum is, so nothing is left out.
        sum.iter_mut().zip(digest(&SHA256, bytes).as_ref()).for_each(|(to, from)| *to = *from);
        Self(sum)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A library that is open.
#[derive(Clone, Debug)]
pub struct Opened {
    /// Its table.
    pub library: Library,
    /// What it was opened from.
    pub content: Digest,
}

/// Why a library is not loaded.
#[derive(Debug, thiserror::Error)]
#[error("the library {path} cannot be loaded: {reason}")]
pub struct LibraryError {
    path: String,
    reason: Reason,
}

/// What is wrong with a library.
#[derive(Debug, thiserror::Error)]
enum Reason {
    /// The file cannot be read.
    #[error("{0}")]
    Unreadable(io::Error),
    /// It is a directory, or something else that is no file.
    #[error("it is no file")]
    NoFile,
    /// The operator allows others only.
    #[error("its SHA-256 sum {0} is not in library_sha256")]
    NotAllowed(Digest),
    /// It is no plugin's library.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// There is no room for its copy.
    #[error("cannot copy it: {0}")]
    Copy(io::Error),
    /// The system did not open it, or the handshake failed.
    #[error("{0}")]
    Refused(String),
}

/// Every content that was opened so far, and what came of the handshake: each is mapped once.
static OPENED: Mutex<BTreeMap<Digest, Handshake>> = Mutex::new(BTreeMap::new());

/// What a library that is mapped is, or why it is none for this broker.
type Handshake = Result<Library, String>;

/// Opens a library, where its SHA-256 sum is one of the `allowed` ones or there are none.
///
/// # Errors
/// Why it cannot be. Nothing of it has run, unless it was the last step that failed: the handshake.
pub(super) fn open(path: &Path, allowed: &[String]) -> Result<Opened, LibraryError> {
    let opened = read(path).and_then(|bytes| {
        let content = Digest::of(&bytes);
        if !allowed.is_empty() && !allowed.contains(&content.to_string()) {
            return Err(Reason::NotAllowed(content));
        }
        let mut opened = OPENED.lock();
        if let Some(known) = opened.get(&content) {
            let library = known.clone().map_err(Reason::Refused)?;
            return Ok(Opened { library, content });
        }
        image::check(&bytes, ffi::SYMBOL)?;
        let handshake = open_copy(&bytes, content)?;
        opened.insert(content, handshake.clone());
        Ok(Opened { library: handshake.map_err(Reason::Refused)?, content })
    });
    opened.map_err(|reason| LibraryError { path: path.display().to_string(), reason })
}

fn read(path: &Path) -> Result<Vec<u8>, Reason> {
    let metadata = fs::metadata(path).map_err(Reason::Unreadable)?;
    if !metadata.is_file() {
        return Err(Reason::NoFile);
    }
    fs::read(path).map_err(Reason::Unreadable)
}

/// Opens a copy that nobody else can change, in a directory that is gone again afterwards.
fn open_copy(bytes: &[u8], content: Digest) -> Result<Handshake, Reason> {
    let directory = tempfile::Builder::new().prefix("jackfield-").tempdir().map_err(Reason::Copy)?;
    let copy: PathBuf = directory.path().join(format!("{content}.so"));
    fs::write(&copy, bytes).map_err(Reason::Copy)?;
    let opened = open_file(&copy);
    directory.close().map_err(Reason::Copy)?;
    opened
}

/// Opens a file. What the system does not open is not mapped, and may be opened another time: what it lacked may be
/// there then.
fn open_file(path: &Path) -> Result<Handshake, Reason> {
    // SAFETY: the file is a whole library of this machine that exports a plugin's symbol. That its constructors keep
    // the rules of the ABI is what the operator trusts it for.
    let opened = unsafe { unix::Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) };
    let opened =
        opened.map_err(|error| Reason::Refused(format!("the system does not open it: {}", said(&error))))?;
    // SAFETY: the header says that the symbol is a table, whose address this gives.
    let table = unsafe { opened.get::<*const ffi::PluginTable>(ffi::SYMBOL) };
    let table = table.map(|symbol| *symbol).map_err(|error| said(&error));
    // Never closed: threads may still hold thread-local values whose destructors are in it.
    let _mapped = opened.into_raw();
    // SAFETY: the table is in the library, which is not closed.
    Ok(table.and_then(|table| unsafe { Library::new(table) }.map_err(|refused| refused.to_string())))
}

/// An error with what caused it: that of the system's loader stands there alone.
fn said(error: &libloading::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}
