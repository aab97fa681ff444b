//! Small state of a plugin's own.

use async_trait::async_trait;

use crate::error::Result;

/// A namespace of keys and values that belongs to one plugin in one service. Each call is one transaction, durable
/// when it returns where the broker has a data directory.
///
/// # Errors
/// Every function gives `internal_error` when the storage fails.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The value of `key`.
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>>;

    /// Sets `key`.
    async fn put(&self, key: &str, value: &[u8]) -> Result<()>;

    /// Removes `key`, and says whether it was there.
    async fn delete(&self, key: &str) -> Result<bool>;

    /// Sets or removes `key` if its value is `expected` (`None`: if it is not there), and says whether it was.
    async fn compare_and_swap(&self, key: &str, expected: Option<&[u8]>, new: Option<&[u8]>) -> Result<bool>;

    /// The keys that begin with `prefix` and their values, in the order of the keys, at most `limit`.
    async fn scan(&self, prefix: &str, limit: usize) -> Result<Vec<(String, Vec<u8>)>>;
}
