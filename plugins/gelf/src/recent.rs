//! What was written last, for connections that die with it.

use std::collections::VecDeque;

use bytes::Bytes;

/// The records that were written last, bounded in number and in bytes.
pub(crate) struct Recent {
    /// Oldest first.
    records: VecDeque<Bytes>,
    bytes: usize,
    most: usize,
    most_bytes: usize,
}

impl Recent {
    pub(crate) fn new(most: usize, most_bytes: usize) -> Self {
        Self { records: VecDeque::new(), bytes: 0, most, most_bytes }
    }

    /// Adds what was written, oldest first.
    pub(crate) fn extend<'a>(&mut self, records: impl Iterator<Item = &'a Bytes>) {
        for record in records {
            self.bytes += record.len();
            self.records.push_back(record.clone());
            while self.records.len() > self.most || self.bytes > self.most_bytes {
                let Some(oldest) = self.records.pop_front() else { break };
                self.bytes -= oldest.len();
            }
        }
    }

    /// All of them, at most so many at a time.
    pub(crate) fn batches(&self, most: usize) -> Vec<Vec<Bytes>> {
        let all: Vec<Bytes> = self.records.iter().cloned().collect();
        all.chunks(most).map(<[Bytes]>::to_vec).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_bounded_in_number_and_in_bytes() {
        let record = |n: usize| Bytes::from(vec![b'x'; n]);
        let lengths =
            |recent: &Recent| -> Vec<usize> { recent.batches(2).concat().iter().map(Bytes::len).collect() };
        let mut recent = Recent::new(3, 100);
        recent.extend([1, 2, 3, 4].map(record).iter());
        assert_eq!(lengths(&recent), [2, 3, 4]);
        assert_eq!(recent.batches(2).len(), 2);
        recent.extend([90].map(record).iter());
        assert_eq!(lengths(&recent), [3, 4, 90]);
        recent.extend([95].map(record).iter());
        assert_eq!(lengths(&recent), [95]);
        recent.extend([101].map(record).iter());
        assert_eq!(lengths(&recent), [] as [usize; 0]);
        let mut none = Recent::new(0, 100);
        none.extend([1].map(record).iter());
        assert_eq!(lengths(&none), [] as [usize; 0]);
    }
}
