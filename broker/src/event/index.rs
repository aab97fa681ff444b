use std::{
    hash::BuildHasher,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use indexmap::IndexMap;
use jackfield_plugin_api::{RawJson, Topic};
use parking_lot::RwLock;
use smallvec::SmallVec;

use crate::session::{Session, SubscriptionKey};

const SHARDS: usize = 16;

/// All subscriptions, found by hashing: an event asks for at most 32 keys, however many others there are.
#[derive(Default)]
pub(super) struct Index {
    hasher: RandomState,
    shards: [RwLock<HashTable<Slot>>; SHARDS],
    /// How many keys there are of each [`Shape`], so that events do not look for what nobody asks for.
    shapes: [AtomicUsize; Shape::COUNT],
}

struct Slot {
    key: SubscriptionKey,
    subscribers: Arc<Subscribers>,
}

/// The sessions with one and the same subscription.
#[derive(Default)]
pub(super) struct Subscribers(RwLock<Members>);

#[derive(Default)]
enum Members {
    #[default]
    None,
    /// Most keys are a session's own: no table for one.
    One(u64, Member),
    Many(IndexMap<u64, Member, RandomState>),
}

/// One of them.
#[derive(Clone)]
pub(super) struct Member {
    pub(super) session: Arc<Session>,
    pub(super) body: RawJson,
}

impl Subscribers {
    /// Calls `each` with every member.
    pub(super) fn each(&self, mut each: impl FnMut(&Member)) {
        match &*self.0.read() {
            Members::None => {}
            Members::One(_, member) => each(member),
            Members::Many(members) => members.values().for_each(each),
        }
    }

    /// All members, for those who call plugins' code for each: that must not happen under the lock.
    pub(super) fn members(&self) -> Vec<Member> {
        let mut members = Vec::new();
        self.each(|member| members.push(member.clone()));
        members
    }

    fn insert(&self, key: u64, member: Member) {
        let mut members = self.0.write();
        *members = match std::mem::take(&mut *members) {
            Members::None => Members::One(key, member),
            Members::One(old, _) if old == key => Members::One(key, member),
            Members::One(old, first) => Members::Many([(old, first), (key, member)].into_iter().collect()),
            Members::Many(mut members) => {
                members.insert(key, member);
                Members::Many(members)
            }
        };
    }

    /// Removes a member, and says whether none is left.
    fn remove(&self, key: u64) -> bool {
        let mut members = self.0.write();
        match &mut *members {
            Members::One(only, _) if *only == key => *members = Members::None,
            Members::Many(many) => {
                many.swap_remove(&key);
                if many.is_empty() {
                    *members = Members::None;
                }
            }
            Members::One(..) | Members::None => {}
        }
        matches!(*members, Members::None)
    }
}

impl Index {
    /// Adds a session under a key, or gives it another body there.
    pub(super) fn insert(&self, key: SubscriptionKey, session: &Arc<Session>, body: RawJson) {
        let wanted = KeyRef::of(&key);
        let hash = self.hasher.hash_one(wanted);
        let rehash = |slot: &Slot| self.hasher.hash_one(KeyRef::of(&slot.key));
        let Some(shard) = self.shards.get(shard_of(hash)) else { return };
        let mut shard = shard.write();
        let member = Member { session: Arc::clone(session), body };
        if let Some(slot) = shard.find(hash, |slot| KeyRef::of(&slot.key) == wanted) {
            return slot.subscribers.insert(session.key, member);
        }
        self.count(Shape::of(wanted), |count| count.fetch_add(1, Ordering::Relaxed));
        let subscribers = Arc::new(Subscribers::default());
        subscribers.insert(session.key, member);
        shard.insert_unique(hash, Slot { key, subscribers }, rehash);
    }

    /// Removes a session from under a key.
    pub(super) fn remove(&self, key: &SubscriptionKey, session: u64) {
        let wanted = KeyRef::of(key);
        let hash = self.hasher.hash_one(wanted);
        let Some(shard) = self.shards.get(shard_of(hash)) else { return };
        let mut shard = shard.write();
        let Ok(slot) = shard.find_entry(hash, |slot| KeyRef::of(&slot.key) == wanted) else { return };
        if slot.get().subscribers.remove(session) {
            slot.remove();
            self.count(Shape::of(wanted), |count| count.fetch_sub(1, Ordering::Relaxed));
        }
    }

    /// The subscribers to whom an event of a service goes, most specific first (protocol §5).
    pub(super) fn matching(&self, service: u16, topic: &Topic) -> SmallVec<[Arc<Subscribers>; 8]> {
        let event = KeyRef { service, fields: topic.fields() };
        let present = Shape::of(event);
        let asked = ORDER.iter().filter(|shape| shape.is_within(present) && self.is_used(**shape));
        asked.filter_map(|shape| self.find(event.widened_to(*shape))).collect()
    }

    fn find(&self, key: KeyRef<'_>) -> Option<Arc<Subscribers>> {
        let hash = self.hasher.hash_one(key);
        let shard = self.shards.get(shard_of(hash))?.read();
        shard.find(hash, |slot| KeyRef::of(&slot.key) == key).map(|slot| Arc::clone(&slot.subscribers))
    }

    fn is_used(&self, shape: Shape) -> bool {
        self.shapes.get(shape.place()).is_some_and(|count| count.load(Ordering::Relaxed) > 0)
    }

    fn count(&self, shape: Shape, change: impl FnOnce(&AtomicUsize) -> usize) {
        if let Some(count) = self.shapes.get(shape.place()) {
            change(count);
        }
    }
}

fn shard_of(hash: u64) -> usize {
    (hash >> 60) as usize % SHARDS
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct KeyRef<'a> {
    service: u16,
    fields: [&'a str; 4],
}

impl<'a> KeyRef<'a> {
    fn of(key: &'a SubscriptionKey) -> Self {
        Self { service: key.service, fields: key.topic.fields() }
    }

    /// The same with `*` wherever the shape has one.
    fn widened_to(self, shape: Shape) -> Self {
        let service = if shape.has(Shape::SERVICE) { self.service } else { SubscriptionKey::EVERY_SERVICE };
        let [class, subclass, kind, obj_id] = self.fields;
        let or_star = |bit, field| if shape.has(bit) { field } else { "*" };
        let fields = [
            or_star(Shape::CLASS, class),
            or_star(Shape::SUBCLASS, subclass),
            or_star(Shape::KIND, kind),
            or_star(Shape::OBJ_ID, obj_id),
        ];
        Self { service, fields }
    }
}

/// Which fields of a key are not `*`.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Shape(u8);

/// Every shape, most specific first: by the number of topic fields, on a tie `obj_id` before `type` before
/// `subclass` before `class`; an own service before every service.
static ORDER: LazyLock<[Shape; Shape::COUNT]> = LazyLock::new(|| {
    let mut shapes = std::array::from_fn(|bits| Shape(bits as u8));
    shapes
        .sort_by_key(|shape: &Shape| std::cmp::Reverse(((shape.0 & !Shape::SERVICE).count_ones(), shape.0)));
    shapes
});

impl Shape {
    const COUNT: usize = 32;
    // In the order of their weight on a tie.
    const OBJ_ID: u8 = 16;
    const KIND: u8 = 8;
    const SUBCLASS: u8 = 4;
    const CLASS: u8 = 2;
    const SERVICE: u8 = 1;

    fn of(key: KeyRef<'_>) -> Self {
        let [class, subclass, kind, obj_id] = key.fields;
        let bit = |bit, field| if field == "*" { 0 } else { bit };
        let service = if key.service == SubscriptionKey::EVERY_SERVICE { 0 } else { Self::SERVICE };
        Self(
            service
                | bit(Self::CLASS, class)
                | bit(Self::SUBCLASS, subclass)
                | bit(Self::KIND, kind)
                | bit(Self::OBJ_ID, obj_id),
        )
    }

    fn has(self, bit: u8) -> bool {
        self.0 & bit != 0
    }

    fn is_within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    fn place(self) -> usize {
        usize::from(self.0)
    }
}
