//! A store in memory.

use std::{collections::BTreeMap, ops::Bound};

use async_trait::async_trait;
use parking_lot::Mutex;

use crate::{error::Result, store::Store};

/// A [`Store`] that forgets everything when it is dropped.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<BTreeMap<String, Vec<u8>>>);

#[async_trait]
impl Store for MemoryStore {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.0.lock().get(key).cloned())
    }

    async fn put(&self, key: &str, value: &[u8]) -> Result<()> {
        self.0.lock().insert(key.to_owned(), value.to_owned());
        Ok(())
    }

    async fn delete(&self, key: &str) -> Result<bool> {
        Ok(self.0.lock().remove(key).is_some())
    }

    async fn compare_and_swap(&self, key: &str, expected: Option<&[u8]>, new: Option<&[u8]>) -> Result<bool> {
        let mut entries = self.0.lock();
        if entries.get(key).map(Vec::as_slice) != expected {
            return Ok(false);
        }
        match new {
            Some(new) => entries.insert(key.to_owned(), new.to_owned()),
            None => entries.remove(key),
        };
        Ok(true)
    }

    async fn scan(&self, prefix: &str, limit: usize) -> Result<Vec<(String, Vec<u8>)>> {
        let entries = self.0.lock();
        let from = entries.range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
        let found = from.take_while(|(key, _)| key.starts_with(prefix)).take(limit);
        Ok(found.map(|(key, value)| (key.clone(), value.clone())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn values_come_and_go() {
        let store = MemoryStore::default();
        store.put("a", b"1").await.unwrap();
        assert_eq!(store.get("a").await.unwrap().unwrap(), b"1");
        assert!(store.delete("a").await.unwrap());
        assert!(!store.delete("a").await.unwrap());
    }

    #[tokio::test]
    async fn a_swap_needs_the_expected_value() {
        let store = MemoryStore::default();
        assert!(!store.compare_and_swap("a", Some(b"1"), Some(b"2")).await.unwrap());
        assert!(store.compare_and_swap("a", None, Some(b"1")).await.unwrap());
        assert!(!store.compare_and_swap("a", None, Some(b"2")).await.unwrap());
        assert!(store.compare_and_swap("a", Some(b"1"), None).await.unwrap());
        assert_eq!(store.get("a").await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_scan_stays_below_its_prefix() {
        let store = MemoryStore::default();
        for key in ["a", "b/1", "b/2", "b/3", "c"] {
            store.put(key, b"x").await.unwrap();
        }
        let found = store.scan("b/", 2).await.unwrap();
        let keys: Vec<_> = found.into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["b/1", "b/2"]);
    }
}
