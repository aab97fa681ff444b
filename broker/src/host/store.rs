use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use jackfield_plugin_api::{Error, ErrorCode, Result, Store};
use parking_lot::Mutex;
use redb::{
    Database, ReadableDatabase, ReadableTable, TableDefinition, TableHandle, backends::InMemoryBackend,
};

/// The plugins' state: one embedded database, opened when it is first used. In memory without a data directory.
pub struct Stores {
    directory: Option<PathBuf>,
    database: Mutex<Option<Arc<Database>>>,
}

impl Stores {
    /// The state kept in `directory`.
    pub fn new(directory: Option<PathBuf>) -> Self {
        Self { directory, database: Mutex::default() }
    }

    /// The state of one plugin in one service.
    ///
    /// # Errors
    /// `internal_error` when the data directory cannot be used.
    pub fn open(&self, service: &str, plugin: &str) -> Result<Arc<dyn Store>> {
        let mut database = self.database.lock();
        let database = match &*database {
            Some(open) => Arc::clone(open),
            None => Arc::clone(database.insert(Arc::new(self.create().map_err(failed)?))),
        };
        Ok(Arc::new(Table { database, name: format!("{service}/{plugin}").into() }))
    }

    fn create(&self) -> Result<Database, redb::Error> {
        let Some(directory) = &self.directory else {
            return Ok(Database::builder().create_with_backend(InMemoryBackend::new())?);
        };
        std::fs::create_dir_all(directory).map_err(redb::StorageError::Io)?;
        Ok(Database::create(directory.join("plugins.redb"))?)
    }
}

fn failed(source: redb::Error) -> Error {
    tracing::error!(error = %source, "the plugins' store failed");
    Error::new(ErrorCode::InternalError).with_source(source)
}

/// One plugin's keys and values.
#[derive(Clone)]
struct Table {
    database: Arc<Database>,
    name: Arc<str>,
}

type Definition<'a> = TableDefinition<'a, &'static str, &'static [u8]>;

impl Table {
    /// Runs a transaction where it may block.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, redb::Error> + Send + 'static,
    ) -> Result<T> {
        let table = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&table)).await;
        done.map_err(|source| Error::new(ErrorCode::InternalError).with_source(source))?.map_err(failed)
    }

    fn definition(&self) -> Definition<'_> {
        TableDefinition::new(&self.name)
    }

    fn read<T: Default>(
        &self,
        read: impl FnOnce(&redb::ReadOnlyTable<&'static str, &'static [u8]>) -> Result<T, redb::Error>,
    ) -> Result<T, redb::Error> {
        let transaction = self.database.begin_read()?;
        // A plugin that has not written yet has no table.
        let known = transaction.list_tables()?.any(|table| table.name() == &*self.name);
        if known { read(&transaction.open_table(self.definition())?) } else { Ok(T::default()) }
    }

    /// Replaces the value of `key` by what `change` makes of it; `None` leaves it as it is.
    fn write<T>(
        &self,
        key: &str,
        change: impl FnOnce(Option<&[u8]>) -> (T, Option<Change>),
    ) -> Result<T, redb::Error> {
        let transaction = self.database.begin_write()?;
        let done = {
            let mut table = transaction.open_table(self.definition())?;
            let (done, change) = change(table.get(key)?.as_ref().map(redb::AccessGuard::value));
            match change {
                Some(Change::Put(value)) => drop(table.insert(key, value.as_slice())?),
                Some(Change::Delete) => drop(table.remove(key)?),
                None => {}
            }
            done
        };
        transaction.commit()?;
        Ok(done)
    }
}

enum Change {
    Put(Vec<u8>),
    Delete,
}

#[async_trait]
impl Store for Table {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        let key = key.to_owned();
        self.run(move |table| {
            table.read(|rows| Ok(rows.get(key.as_str())?.map(|value| value.value().to_vec())))
        })
        .await
    }

    async fn put(&self, key: &str, value: &[u8]) -> Result<()> {
        let (key, value) = (key.to_owned(), value.to_vec());
        self.run(move |table| table.write(&key, |_| ((), Some(Change::Put(value))))).await
    }

    async fn delete(&self, key: &str) -> Result<bool> {
        let key = key.to_owned();
        self.run(move |table| table.write(&key, |old| (old.is_some(), Some(Change::Delete)))).await
    }

    async fn compare_and_swap(&self, key: &str, expected: Option<&[u8]>, new: Option<&[u8]>) -> Result<bool> {
        let (key, expected) = (key.to_owned(), expected.map(<[u8]>::to_vec));
        let change = new.map_or(Change::Delete, |value| Change::Put(value.to_vec()));
        self.run(move |table| {
            table.write(&key, |old| {
                let equal = old == expected.as_deref();
                (equal, equal.then_some(change))
            })
        })
        .await
    }

    async fn scan(&self, prefix: &str, limit: usize) -> Result<Vec<(String, Vec<u8>)>> {
        let prefix = prefix.to_owned();
        self.run(move |table| {
            table.read(|rows| {
                let mut found = Vec::new();
                for row in rows.range(prefix.as_str()..)?.take(limit) {
                    let (key, value) = row?;
                    if !key.value().starts_with(&prefix) {
                        break;
                    }
                    found.push((key.value().to_owned(), value.value().to_vec()));
                }
                Ok(found)
            })
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn exercise(store: &dyn Store) {
        assert_eq!(store.get("a").await.unwrap(), None);
        assert!(store.scan("", 10).await.unwrap().is_empty());
        store.put("a", b"1").await.unwrap();
        store.put("ab", b"2").await.unwrap();
        store.put("b", b"3").await.unwrap();
        assert_eq!(store.get("a").await.unwrap().as_deref(), Some(&b"1"[..]));
        assert_eq!(
            store.scan("a", 10).await.unwrap(),
            [("a".into(), b"1".to_vec()), ("ab".into(), b"2".to_vec())]
        );
        assert_eq!(store.scan("", 1).await.unwrap().len(), 1);
        assert!(!store.compare_and_swap("a", None, Some(b"x")).await.unwrap());
        assert!(store.compare_and_swap("a", Some(b"1"), Some(b"x")).await.unwrap());
        assert!(store.compare_and_swap("new", None, Some(b"n")).await.unwrap());
        assert!(store.compare_and_swap("new", Some(b"n"), None).await.unwrap());
        assert!(store.delete("a").await.unwrap());
        assert!(!store.delete("a").await.unwrap());
    }

    #[tokio::test]
    async fn in_memory() {
        let stores = Stores::new(None);
        exercise(&*stores.open("main", "one").unwrap()).await;
        assert!(stores.open("main", "two").unwrap().scan("", 10).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn in_a_directory_it_outlives_the_broker() {
        let directory = tempfile::tempdir().unwrap();
        let path = Some(directory.path().join("data"));
        exercise(&*Stores::new(path.clone()).open("main", "one").unwrap()).await;
        let again = Stores::new(path).open("main", "one").unwrap();
        assert_eq!(again.get("b").await.unwrap().as_deref(), Some(&b"3"[..]));
    }
}
