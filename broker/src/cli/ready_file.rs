//! The file that says where a broker that is ready listens.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{fs, io, process};

use serde::Serialize;

use crate::broker::Addresses;

/// The file while the broker runs; dropping it removes the file.
#[derive(Debug)]
pub(super) struct ReadyFile {
    path: PathBuf,
    text: String,
}

#[derive(Serialize)]
struct Content<'a> {
    pid: u32,
    listeners: &'a [String],
    services: &'a BTreeMap<String, Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    admin: Option<&'a str>,
}

impl ReadyFile {
    /// Writes the file at once: who looks sees all of it or nothing.
    pub(super) fn write(path: &Path, addresses: &Addresses) -> io::Result<Self> {
        let content = Content {
            pid: process::id(),
            listeners: &addresses.listeners,
            services: &addresses.services,
            admin: addresses.admin.as_deref(),
        };
        let text = format!("{}\n", serde_json::to_string(&content)?);
        let draft = draft_beside(path);
        fs::write(&draft, &text)?;
        if let Err(error) = fs::rename(&draft, path) {
            // The draft is of no use to anyone; the first error is the one to tell.
            drop(fs::remove_file(&draft));
            return Err(error);
        }
        Ok(Self { path: path.to_owned(), text })
    }
}

impl Drop for ReadyFile {
    /// Removes the file, unless another broker has put its own in its place.
    fn drop(&mut self) {
        if fs::read_to_string(&self.path).is_ok_and(|text| text == self.text)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "the ready file could not be removed");
        }
    }
}

/// A name in the same directory, so that the rename stays on one file system.
fn draft_beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().map(OsString::from).unwrap_or_default();
    name.push(format!(".{}.tmp", process::id()));
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses() -> Addresses {
        let listeners = vec!["ws://127.0.0.1:9010".to_owned()];
        let services = BTreeMap::from([("main".to_owned(), listeners.clone())]);
        Addresses { listeners, services, admin: None }
    }

    #[test]
    fn the_file_is_there_while_it_is_held() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ready.json");
        let ready = ReadyFile::write(&path, &addresses()).unwrap();
        let expected = format!(
            "{{\"pid\":{},\"listeners\":[\"ws://127.0.0.1:9010\"],\"services\":{{\"main\":[\"ws://127.0.0.1:9010\"]}}}}\n",
            process::id()
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), expected);
        drop(ready);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_successors_file_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ready.json");
        let ready = ReadyFile::write(&path, &addresses()).unwrap();
        fs::write(&path, "another's").unwrap();
        drop(ready);
        assert_eq!(fs::read_to_string(&path).unwrap(), "another's");
    }

    #[test]
    fn a_directory_that_is_not_there_is_an_error() {
        assert!(ReadyFile::write(Path::new("/no/such/ready.json"), &addresses()).is_err());
    }
}
