use std::{
    any::Any,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// How much may be asked of a session at once under one registration.
pub(super) struct Places {
    /// How many requests.
    pub(super) most: usize,
    /// How many there are.
    pub(super) taken: Arc<AtomicUsize>,
    /// How many bytes of data they brought, of all registrations of the session.
    pub(super) bytes: Arc<AtomicUsize>,
}

/// A request's place, until nothing more can come for it.
struct Place {
    taken: Arc<AtomicUsize>,
    bytes: Arc<AtomicUsize>,
    size: usize,
}

impl Places {
    /// Takes a place for a request with `size` bytes of data, if there is one. Any request has room when it is alone.
    pub(super) fn take(&self, size: usize, most_bytes: usize) -> Option<Arc<dyn Any + Send + Sync>> {
        let requests = self.taken.fetch_add(1, Ordering::AcqRel);
        let bytes = self.bytes.fetch_add(size, Ordering::AcqRel);
        // Dropped where there is no room, it gives back what it took.
        let place = Place { taken: Arc::clone(&self.taken), bytes: Arc::clone(&self.bytes), size };
        let fits = requests < self.most && (bytes == 0 || bytes + size <= most_bytes);
        fits.then(|| Arc::new(place) as _)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.taken.fetch_sub(1, Ordering::AcqRel);
        self.bytes.fetch_sub(self.size, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_limited_and_given_back() {
        let places = Places { most: 2, taken: Arc::default(), bytes: Arc::default() };
        let first = places.take(100, 10);
        assert!(first.is_some() && places.take(1, 10).is_none());
        drop(first);
        let (one, two) = (places.take(5, 10), places.take(5, 10));
        assert!(one.is_some() && two.is_some() && places.take(0, 10).is_none());
        drop((one, two));
        assert_eq!((places.taken.load(Ordering::Relaxed), places.bytes.load(Ordering::Relaxed)), (0, 0));
    }
}
