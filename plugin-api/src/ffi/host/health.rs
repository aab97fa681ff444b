use std::{
    collections::VecDeque,
    fmt,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use parking_lot::Mutex;

/// So many panics within [`WINDOW`], and a plugin is asked no more.
const MOST_PANICS: usize = 5;

/// The time in which panics are counted.
const WINDOW: Duration = Duration::from_secs(60);

/// How a plugin in a library is doing. One that breaks again and again is quarantined: nothing is asked of it any more,
/// until it is loaded anew.
#[derive(Default)]
pub struct Health {
    quarantined: AtomicBool,
    panics: Mutex<VecDeque<Instant>>,
    tell: Mutex<Option<Tell>>,
}

type Tell = Box<dyn Fn(&str) + Send + Sync>;

impl Health {
    /// Whether nothing is asked of it any more.
    pub fn is_quarantined(&self) -> bool {
        self.quarantined.load(Ordering::Relaxed)
    }

    /// Has `tell` called with the reason, once, when it is quarantined.
    pub fn on_quarantine(&self, tell: impl Fn(&str) + Send + Sync + 'static) {
        *self.tell.lock() = Some(Box::new(tell));
    }

    /// Takes note of a panic.
    pub(super) fn panicked(&self, message: &str) {
        let now = Instant::now();
        let count = {
            let mut panics = self.panics.lock();
            panics.retain(|at| now.duration_since(*at) < WINDOW);
            panics.push_back(now);
            panics.len()
        };
        if count < MOST_PANICS || self.quarantined.swap(true, Ordering::Relaxed) {
            return;
        }
        let tell = self.tell.lock().take();
        if let Some(tell) = tell {
            tell(&format!("{MOST_PANICS} panics within {} s, the last: {message}", WINDOW.as_secs()));
        }
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Health").field("quarantined", &self.is_quarantined()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn the_fifth_panic_is_the_last() {
        let health = Health::default();
        let told = Arc::new(Mutex::new(Vec::new()));
        let list = Arc::clone(&told);
        health.on_quarantine(move |reason| list.lock().push(reason.to_owned()));
        for _ in 0..4 {
            health.panicked("oh");
        }
        assert!(!health.is_quarantined());
        health.panicked("no");
        health.panicked("more");
        assert!(health.is_quarantined());
        assert_eq!(*told.lock(), ["5 panics within 60 s, the last: no"]);
    }
}
