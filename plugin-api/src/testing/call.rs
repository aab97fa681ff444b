//! One request under way, from the harness's side.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;

use super::world::World;
use crate::{
    auth::Login,
    context::Call,
    error::{ErrorCode, Result},
    json::RawObject,
    session::{Caller, Who},
};

pub(super) struct TestCall {
    caller: Arc<Caller>,
    world: Arc<World>,
    ends_session: AtomicBool,
}

impl TestCall {
    pub(super) fn new(caller: Arc<Caller>, world: Arc<World>) -> Arc<Self> {
        Arc::new(Self { caller, world, ends_session: AtomicBool::new(false) })
    }

    /// Ends the caller's session if the handler asked for it.
    pub(super) fn settle(&self) -> Result<()> {
        match self.caller.identity() {
            Some(identity) if self.ends_session.load(Ordering::Acquire) => {
                self.world.stop_session(&identity.session_id).map(drop)
            }
            Some(_) | None => Ok(()),
        }
    }
}

#[async_trait]
impl Call for TestCall {
    fn caller(&self) -> &Arc<Caller> {
        &self.caller
    }

    fn ack(&self) {
        self.world.state().acks += 1;
    }

    fn end_session(&self) {
        self.ends_session.store(true, Ordering::Release);
    }

    async fn login(&self, login: Login) -> Result<RawObject> {
        match self.caller.who {
            Who::Anonymous => self.world.loaded()?.login(login, &self.caller).await,
            Who::Session(_) => Err(ErrorCode::AlreadyAuthenticated.into()),
            Who::Plugin => Err(ErrorCode::InvalidOperation.into()),
        }
    }
}
