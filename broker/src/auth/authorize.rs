use std::{
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;
use futures_util::FutureExt;
use hashbrown::HashMap;
use jackfield_plugin_api::{Action, Authorizer, Caller, Decision, Error, ErrorCode};
use parking_lot::Mutex;

use super::Policy;
use crate::telemetry::panics;

/// How many rulings are remembered; beyond that the expired ones are thrown out, then all.
const MOST_RULINGS: usize = 65_536;

/// The authorizers of a service, then its policy.
pub struct Authorizers {
    chain: ArcSwap<Vec<Arc<dyn Authorizer>>>,
    policy: ArcSwap<Policy>,
    rulings: Mutex<HashMap<(u64, Action), Remembered, RandomState>>,
}

struct Remembered {
    decision: Decision,
    until: Instant,
}

impl Authorizers {
    /// No authorizers, and a policy.
    pub fn new(policy: Policy) -> Self {
        Self { chain: ArcSwap::default(), policy: ArcSwap::from_pointee(policy), rulings: Mutex::default() }
    }

    /// Puts another chain in force.
    pub fn replace(&self, chain: Vec<Arc<dyn Authorizer>>) {
        self.chain.store(Arc::new(chain));
        self.rulings.lock().clear();
    }

    /// Puts another policy in force.
    pub fn set_policy(&self, policy: Policy) {
        self.policy.store(Arc::new(policy));
    }

    /// Says whether `caller` may do `action`, where that can be said at once.
    pub fn permit_now(&self, caller: &Caller, action: &Action) -> Option<Result<(), Error>> {
        if caller.is_trusted() {
            return Some(Ok(()));
        }
        self.chain.load().is_empty().then(|| self.by_policy(caller, action))
    }

    /// Says whether `caller` may do `action`.
    ///
    /// # Errors
    /// The refusal.
    pub async fn permit(&self, caller: &Arc<Caller>, action: &Action) -> Result<(), Error> {
        if let Some(said) = self.permit_now(caller, action) {
            return said;
        }
        match self.decide(caller, action).await {
            Decision::Allow => Ok(()),
            Decision::Deny(error) => Err(error),
            Decision::Continue => self.by_policy(caller, action),
        }
    }

    fn by_policy(&self, caller: &Caller, action: &Action) -> Result<(), Error> {
        let Some(identity) = caller.identity() else { return Err(ErrorCode::NotAuthenticated.into()) };
        if self.policy.load().allows(identity, action) { Ok(()) } else { Err(ErrorCode::Unauthorized.into()) }
    }

    async fn decide(&self, caller: &Arc<Caller>, action: &Action) -> Decision {
        let key = (caller.connection, action.clone());
        if let Some(decision) = self.remembered(&key) {
            return decision;
        }
        // The whole chain's word may be kept only as long as each that was asked allows it.
        let mut cache_for = Some(Duration::MAX);
        let mut decision = Decision::Continue;
        for authorizer in self.chain.load_full().iter() {
            let ruling = match AssertUnwindSafe(authorizer.authorize(caller, action)).catch_unwind().await {
                Ok(ruling) => ruling,
                Err(panic) => return Decision::Deny(panics::caught("an authorizer panicked", &panic)),
            };
            cache_for = cache_for.and_then(|so_far| ruling.cache_for.map(|this| so_far.min(this)));
            decision = ruling.decision;
            if !matches!(decision, Decision::Continue) {
                break;
            }
        }
        if let Some(until) = cache_for.and_then(|cache_for| Instant::now().checked_add(cache_for)) {
            self.remember(key, Remembered { decision: decision.clone(), until });
        }
        decision
    }

    fn remembered(&self, key: &(u64, Action)) -> Option<Decision> {
        let rulings = self.rulings.lock();
        rulings.get(key).filter(|ruling| ruling.until > Instant::now()).map(|ruling| ruling.decision.clone())
    }

    fn remember(&self, key: (u64, Action), ruling: Remembered) {
        let mut rulings = self.rulings.lock();
        if rulings.len() >= MOST_RULINGS {
            let now = Instant::now();
            rulings.retain(|_, ruling| ruling.until > now);
        }
        if rulings.len() >= MOST_RULINGS {
            rulings.clear();
        }
        rulings.insert(key, ruling);
    }
}
