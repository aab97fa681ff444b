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
use jackfield_plugin_api::Topic;
use parking_lot::RwLock;
use smallvec::SmallVec;

use super::merge::Body;
use crate::session::{Directory, Session, SubscriptionKey};

const SHARDS: usize = 16;

/// All subscriptions, found by hashing: an event asks for at most 32 keys, however many others there are. The
/// automatic ones are found in the directories, which know every session by its id and by its user.
#[derive(Default)]
pub(super) struct Index {
    /// By the services' numbers.
    directories: Box<[Arc<Directory>]>,
    hasher: RandomState,
    shards: [RwLock<HashTable<Slot>>; SHARDS],
    /// How many keys there are of each [`Shape`], so that events do not look for what nobody asks for.
    shapes: [AtomicUsize; Shape::COUNT],
}

#[derive(Clone)]
struct Slot {
    key: Arc<SubscriptionKey>,
    subscribers: Arc<Subscribers>,
}

/// The sessions with one and the same subscription.
#[derive(Default)]
pub(super) struct Subscribers(RwLock<Members>);

#[derive(Default)]
enum Members {
    /// There is to be one soon.
    #[default]
    Empty,
    /// Most keys are a session's own: no table for one.
    One(u64, Member),
    Many(Box<IndexMap<u64, Member, RandomState>>),
    /// Those that the directory knows, for one event.
    Listed(Vec<Member>),
    /// The last has left, and the index lets go of this.
    Abandoned,
}

/// One of them.
#[derive(Clone)]
pub(super) struct Member {
    pub(super) session: Arc<Session>,
    pub(super) body: Body,
}

impl Subscribers {
    /// Calls `each` with every member.
    pub(super) fn each(&self, mut each: impl FnMut(&Member)) {
        match &*self.0.read() {
            Members::Empty | Members::Abandoned => {}
            Members::One(_, member) => each(member),
            Members::Many(members) => members.values().for_each(each),
            Members::Listed(members) => members.iter().for_each(each),
        }
    }

    /// Those of the sessions whose automatic subscriptions are as they were made.
    fn automatic(sessions: impl IntoIterator<Item = Arc<Session>>) -> Self {
        let automatic = sessions.into_iter().filter(|session| session.has_automatic());
        let members = automatic.map(|session| Member { session, body: Body::empty() });
        Self(RwLock::new(Members::Listed(members.collect())))
    }

    /// All members, for those who call plugins' code for each: that must not happen under the lock.
    pub(super) fn members(&self) -> Vec<Member> {
        let mut members = Vec::new();
        self.each(|member| members.push(member.clone()));
        members
    }

    /// Adds a member; gives it back when the last one has left, after which this is found no more.
    fn insert(&self, key: u64, member: Member) -> Result<(), Member> {
        let mut members = self.0.write();
        *members = match std::mem::take(&mut *members) {
            Members::Empty => Members::One(key, member),
            Members::One(old, _) if old == key => Members::One(key, member),
            Members::One(old, first) => {
                Members::Many(Box::new([(old, first), (key, member)].into_iter().collect()))
            }
            Members::Many(mut members) => {
                members.insert(key, member);
                Members::Many(members)
            }
            refusing @ (Members::Abandoned | Members::Listed(_)) => {
                *members = refusing;
                return Err(member);
            }
        };
        Ok(())
    }

    /// Removes a member, and says whether it was the last.
    fn remove(&self, key: u64) -> bool {
        let mut members = self.0.write();
        match &mut *members {
            Members::One(only, _) if *only == key => *members = Members::Abandoned,
            Members::Many(many) => {
                many.swap_remove(&key);
                if many.is_empty() {
                    *members = Members::Abandoned;
                }
            }
            Members::One(..) | Members::Empty | Members::Listed(_) | Members::Abandoned => {}
        }
        matches!(*members, Members::Abandoned)
    }
}

impl Index {
    /// No subscriptions but the automatic ones of the sessions in these directories.
    pub(super) fn new(directories: impl IntoIterator<Item = Arc<Directory>>) -> Self {
        Self { directories: directories.into_iter().collect(), ..Self::default() }
    }

    /// Adds a session under a key, or gives it another body there, and gives back the key that all who have it share.
    /// The shard is not locked while the subscribers are: an event may be on its way to many of them.
    pub(super) fn insert(
        &self,
        key: SubscriptionKey,
        session: &Arc<Session>,
        body: Body,
    ) -> Arc<SubscriptionKey> {
        let mut member = Member { session: Arc::clone(session), body };
        let key = Arc::new(key);
        loop {
            let slot = self.slot(&key);
            match slot.subscribers.insert(session.key, member) {
                Ok(()) => return slot.key,
                Err(refused) => member = refused,
            }
            std::thread::yield_now();
        }
    }

    /// That of a key, which is made if it is not there.
    fn slot(&self, key: &Arc<SubscriptionKey>) -> Slot {
        let wanted = KeyRef::of(key);
        let hash = self.hasher.hash_one(wanted);
        let rehash = |slot: &Slot| self.hasher.hash_one(KeyRef::of(&slot.key));
        let mut shard = self.shard(hash).write();
        if let Some(slot) = shard.find(hash, |slot| KeyRef::of(&slot.key) == wanted) {
            return slot.clone();
        }
        self.count(Shape::of(wanted), |count| count.fetch_add(1, Ordering::Relaxed));
        let slot = Slot { key: Arc::clone(key), subscribers: Arc::default() };
        shard.insert_unique(hash, slot.clone(), rehash);
        slot
    }

    /// Removes a session from under a key.
    pub(super) fn remove(&self, key: &SubscriptionKey, session: u64) {
        let wanted = KeyRef::of(key);
        let Some(subscribers) = self.find(wanted) else { return };
        if !subscribers.remove(session) {
            return;
        }
        let hash = self.hasher.hash_one(wanted);
        let mut shard = self.shard(hash).write();
        if let Ok(slot) = shard.find_entry(hash, |slot| Arc::ptr_eq(&slot.subscribers, &subscribers)) {
            slot.remove();
            self.count(Shape::of(wanted), |count| count.fetch_sub(1, Ordering::Relaxed));
        }
    }

    /// The subscribers to whom an event of a service goes, most specific first (protocol §5).
    pub(super) fn matching(&self, service: u16, topic: &Topic) -> SmallVec<[Arc<Subscribers>; 8]> {
        let event = KeyRef { service, fields: topic.fields() };
        let present = Shape::of(event);
        // First of all: one that is about to be changed is in the table before it is automatic no more.
        let mut automatic = self.automatic(event);
        let mut found = SmallVec::new();
        for shape in ORDER.iter().filter(|shape| shape.is_within(present)) {
            if *shape == Shape::AUTOMATIC {
                found.extend(automatic.take());
            }
            if self.is_used(*shape) {
                found.extend(self.find(event.widened_to(*shape)));
            }
        }
        found
    }

    /// Those that are subscribed to an event since their login.
    fn automatic(&self, event: KeyRef<'_>) -> Option<Arc<Subscribers>> {
        let ["core", subclass, _, obj_id] = event.fields else { return None };
        let directory = self.directories.get(usize::from(event.service))?;
        let subscribers = match subclass {
            "user_event" => Subscribers::automatic(directory.of_user(obj_id)),
            "session_event" => Subscribers::automatic(directory.get(obj_id)),
            _ => return None,
        };
        Some(Arc::new(subscribers))
    }

    fn find(&self, key: KeyRef<'_>) -> Option<Arc<Subscribers>> {
        let hash = self.hasher.hash_one(key);
        let shard = self.shard(hash).read();
        shard.find(hash, |slot| KeyRef::of(&slot.key) == key).map(|slot| Arc::clone(&slot.subscribers))
    }

    #[expect(clippy::indexing_slicing, reason = "the place is a remainder of the number of shards")]
    fn shard(&self, hash: u64) -> &RwLock<HashTable<Slot>> {
        &self.shards[(hash >> 60) as usize % SHARDS]
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

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct KeyRef<'a> {
    service: u16,
    fields: [&'a str; 4],
}

impl<'a> KeyRef<'a> {
    fn of(key: &'a SubscriptionKey) -> Self {
        Self { service: key.service, fields: key.fields() }
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
    /// That of the automatic subscriptions.
    const AUTOMATIC: Self = Self(Self::OBJ_ID | Self::SUBCLASS | Self::CLASS | Self::SERVICE);
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
