//! What one subscriber got of one publisher: each once, and in order.

use std::collections::BTreeSet;

use super::tally::Tally;

/// How many gaps are remembered; beyond them, a late event counts as a duplicate.
const REMEMBERED: usize = 10_000;

/// Follows the numbers of one publisher's events.
#[derive(Debug, Default)]
pub(super) struct Order {
    next: u64,
    missing: BTreeSet<u64>,
    /// Missing ones that were not remembered.
    forgotten: u64,
}

impl Order {
    /// Takes note of an event. Whether it had not come before.
    pub(super) fn received(&mut self, number: u64, tally: &mut Tally) -> bool {
        if number >= self.next {
            for gap in self.next..number {
                if self.missing.len() >= REMEMBERED {
                    self.forgotten += number - gap;
                    break;
                }
                self.missing.insert(gap);
            }
            self.next = number + 1;
            return true;
        }
        if self.missing.remove(&number) {
            tally.out_of_order += 1;
            tally.problem(|| format!("event {number} came after event {}", self.next - 1));
            return true;
        }
        tally.duplicates += 1;
        tally.problem(|| format!("event {number} came twice"));
        false
    }

    /// How many of `published` events did not come.
    pub(super) fn lost(&self, published: u64) -> u64 {
        self.missing.len() as u64 + self.forgotten + published.saturating_sub(self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follow(numbers: &[u64]) -> (u64, u64, u64) {
        let (mut order, mut tally) = (Order::default(), Tally::default());
        for number in numbers {
            order.received(*number, &mut tally);
        }
        (order.lost(4), tally.duplicates, tally.out_of_order)
    }

    #[test]
    fn losses_duplicates_and_disorder_are_told_apart() {
        assert_eq!(follow(&[0, 1, 2, 3]), (0, 0, 0));
        assert_eq!(follow(&[0, 1, 3]), (1, 0, 0));
        assert_eq!(follow(&[0, 1]), (2, 0, 0));
        assert_eq!(follow(&[0, 1, 1, 2, 3, 0]), (0, 2, 0));
        assert_eq!(follow(&[0, 2, 1, 3]), (0, 0, 1));
        assert_eq!(follow(&[0, 2, 1, 1, 3]), (0, 1, 1));
    }

    #[test]
    fn a_jump_does_not_fill_the_memory() {
        let (mut order, mut tally) = (Order::default(), Tally::default());
        order.received(1 << 50, &mut tally);
        assert!(order.missing.len() <= REMEMBERED);
        assert_eq!(order.lost((1 << 50) + 1), 1 << 50);
    }
}
