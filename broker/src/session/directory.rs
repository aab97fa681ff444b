use std::{collections::BTreeMap, hash::BuildHasher, sync::Arc};

use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashTable, hash_table::Entry};
use indexmap::IndexMap;
use jackfield_plugin_api::{ErrorCode, SessionId, UserId};
use parking_lot::{Mutex, RwLock};

use super::{Link, Session};

/// The live sessions of one service, by id and by user. The tables hold nothing but the sessions, which know their
/// names: that is a few bytes for each.
#[derive(Default)]
pub struct Directory {
    tables: RwLock<Tables>,
}

#[derive(Default)]
struct Tables {
    hasher: RandomState,
    sessions: HashTable<Arc<Session>>,
    users: HashTable<OfUser>,
}

/// The sessions of a user.
enum OfUser {
    /// Most have one: no table for that.
    One(Arc<Session>),
    Many(Box<Many>),
}

/// In the order of their logins, as long as none ends.
struct Many {
    user: UserId,
    sessions: IndexMap<u64, Arc<Session>, RandomState>,
}

impl Directory {
    /// Lists a session, at most `per_user` for one user (0: any number).
    ///
    /// # Errors
    /// `duplicated_session_id`, `limit_exceeded`.
    pub fn insert(&self, session: &Arc<Session>, per_user: usize) -> Result<(), ErrorCode> {
        let (id, user) = (session.info.session_id.as_str(), session.info.user.as_str());
        let mut tables = self.tables.write();
        if tables.session(id).is_some() {
            return Err(ErrorCode::DuplicatedSessionId);
        }
        let before = tables.of_user(user).map_or(0, OfUser::len);
        if per_user > 0 && before >= per_user {
            return Err(ErrorCode::LimitExceeded);
        }
        tables.add(session);
        Ok(())
    }

    /// Takes a session off the list, and says whether it was this one that stood there.
    pub fn remove(&self, session: &Session) -> bool {
        self.tables.write().remove(session)
    }

    /// One session.
    pub fn get(&self, id: &str) -> Option<Arc<Session>> {
        self.tables.read().session(id).cloned()
    }

    /// One user's sessions.
    pub fn of_user(&self, user: &str) -> Vec<Arc<Session>> {
        self.tables.read().of_user(user).map_or_else(Vec::new, |sessions| sessions.iter().cloned().collect())
    }

    /// All users with their sessions.
    pub fn users(&self) -> BTreeMap<UserId, Vec<SessionId>> {
        let ids = |of: &OfUser| of.iter().map(|session| session.info.session_id.clone()).collect();
        self.tables.read().users.iter().map(|of| (of.user().clone(), ids(of))).collect()
    }

    /// Every session.
    pub fn all(&self) -> Vec<Arc<Session>> {
        self.tables.read().sessions.iter().cloned().collect()
    }
}

impl Tables {
    fn session(&self, id: &str) -> Option<&Arc<Session>> {
        self.sessions.find(self.hasher.hash_one(id), |listed| listed.info.session_id.as_str() == id)
    }

    fn of_user(&self, user: &str) -> Option<&OfUser> {
        self.users.find(self.hasher.hash_one(user), |of| of.user().as_str() == user)
    }

    /// Adds a session whose id is free.
    fn add(&mut self, session: &Arc<Session>) {
        let Self { hasher, sessions, users } = self;
        let (id, user) = (session.info.session_id.as_str(), session.info.user.as_str());
        let rehash = |listed: &Arc<Session>| hasher.hash_one(listed.info.session_id.as_str());
        sessions.insert_unique(hasher.hash_one(id), Arc::clone(session), rehash);
        let is_user = |of: &OfUser| of.user().as_str() == user;
        match users.entry(hasher.hash_one(user), is_user, |of| hasher.hash_one(of.user().as_str())) {
            Entry::Occupied(mut of) => of.get_mut().add(session),
            Entry::Vacant(none) => drop(none.insert(OfUser::One(Arc::clone(session)))),
        }
    }

    fn remove(&mut self, session: &Session) -> bool {
        let Self { hasher, sessions, users } = self;
        let (id, user) = (session.info.session_id.as_str(), session.info.user.as_str());
        let is_it = |listed: &Arc<Session>| listed.key == session.key;
        let Ok(listed) = sessions.find_entry(hasher.hash_one(id), is_it) else { return false };
        listed.remove();
        let is_user = |of: &OfUser| of.user().as_str() == user;
        if let Ok(mut of) = users.find_entry(hasher.hash_one(user), is_user)
            && of.get_mut().remove(session.key)
        {
            of.remove();
        }
        true
    }
}

impl OfUser {
    fn user(&self) -> &UserId {
        match self {
            Self::One(session) => &session.info.user,
            Self::Many(many) => &many.user,
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Many(many) => many.sessions.len(),
        }
    }

    fn iter(&self) -> impl Iterator<Item = &Arc<Session>> {
        let (one, many) = match self {
            Self::One(session) => (Some(session), None),
            Self::Many(many) => (None, Some(many.sessions.values())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    fn add(&mut self, session: &Arc<Session>) {
        match self {
            Self::One(first) => {
                let both = [first, session].map(|session| (session.key, Arc::clone(session)));
                let user = session.info.user.clone();
                *self = Self::Many(Box::new(Many { user, sessions: both.into_iter().collect() }));
            }
            Self::Many(many) => drop(many.sessions.insert(session.key, Arc::clone(session))),
        }
    }

    /// Removes a session, and says whether it was the last.
    fn remove(&mut self, key: u64) -> bool {
        match self {
            Self::One(_) => true,
            Self::Many(many) => {
                many.sessions.swap_remove(&key);
                many.sessions.is_empty()
            }
        }
    }
}

/// The connections of one service that have not logged in.
#[derive(Default)]
pub struct Anonymous {
    links: Mutex<Links>,
}

#[derive(Default)]
struct Links {
    open: HashMap<u64, Arc<Link>, RandomState>,
    closed: bool,
}

impl Anonymous {
    /// Lists a connection; `false` when there are to be no more.
    pub fn insert(&self, link: &Arc<Link>) -> bool {
        let mut links = self.links.lock();
        links.open.insert(link.id, Arc::clone(link));
        !links.closed
    }

    /// Takes a connection off the list.
    pub fn remove(&self, link: &Link) {
        self.links.lock().open.remove(&link.id);
    }

    /// All of them; there are to be no more.
    pub fn close(&self) -> Vec<Arc<Link>> {
        let mut links = self.links.lock();
        links.closed = true;
        links.open.values().cloned().collect()
    }
}
