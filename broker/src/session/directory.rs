use std::{collections::BTreeMap, sync::Arc};

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use jackfield_plugin_api::{ErrorCode, SessionId, UserId};
use parking_lot::{Mutex, RwLock};

use super::{Link, Session};

/// The live sessions of one service, by id and by user.
#[derive(Default)]
pub struct Directory {
    tables: RwLock<Tables>,
}

#[derive(Default)]
struct Tables {
    sessions: HashMap<SessionId, Arc<Session>, RandomState>,
    users: HashMap<UserId, Vec<SessionId>, RandomState>,
}

impl Directory {
    /// Lists a session, at most `per_user` for one user (0: any number).
    ///
    /// # Errors
    /// `duplicated_session_id`, `limit_exceeded`.
    pub fn insert(&self, session: &Arc<Session>, per_user: usize) -> Result<(), ErrorCode> {
        let (id, user) = (&session.identity.session_id, &session.identity.user);
        let mut tables = self.tables.write();
        if tables.sessions.contains_key(id) {
            return Err(ErrorCode::DuplicatedSessionId);
        }
        let of_user = tables.users.entry(user.clone()).or_default();
        if per_user > 0 && of_user.len() >= per_user {
            return Err(ErrorCode::LimitExceeded);
        }
        of_user.push(id.clone());
        tables.sessions.insert(id.clone(), Arc::clone(session));
        Ok(())
    }

    /// Takes a session off the list, and says whether it was this one that stood there.
    pub fn remove(&self, session: &Session) -> bool {
        let (id, user) = (&session.identity.session_id, &session.identity.user);
        let mut tables = self.tables.write();
        if tables.sessions.get(id).is_none_or(|listed| listed.key != session.key) {
            return false;
        }
        tables.sessions.remove(id);
        if let Some(of_user) = tables.users.get_mut(user) {
            of_user.retain(|listed| listed != id);
            if of_user.is_empty() {
                tables.users.remove(user);
            }
        }
        true
    }

    /// One session.
    pub fn get(&self, id: &str) -> Option<Arc<Session>> {
        self.tables.read().sessions.get(id).cloned()
    }

    /// One user's sessions, oldest first.
    pub fn of_user(&self, user: &str) -> Vec<Arc<Session>> {
        let tables = self.tables.read();
        let ids = tables.users.get(user).map(Vec::as_slice).unwrap_or_default();
        ids.iter().filter_map(|id| tables.sessions.get(id).cloned()).collect()
    }

    /// All users with their sessions, oldest first.
    pub fn users(&self) -> BTreeMap<UserId, Vec<SessionId>> {
        self.tables.read().users.iter().map(|(user, ids)| (user.clone(), ids.clone())).collect()
    }

    /// Every session.
    pub fn all(&self) -> Vec<Arc<Session>> {
        self.tables.read().sessions.values().cloned().collect()
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
