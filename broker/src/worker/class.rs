use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use jackfield_plugin_api::{
    Answer, CommandKey, Context, Error, ErrorCode, Handler, IfLost, Outcome, Request, Result,
};

use super::{Asker, Question, Sent, name, places::Places};
use crate::{event::sender, session::Session};

/// So many workers are given a request, each after the one before it went away: a request that kills whoever gets it
/// must not kill them all.
const MOST_TRIES: usize = 4;

/// The sessions that serve one triple, in turn.
pub(super) struct Class {
    asker: Arc<Asker>,
    key: Arc<CommandKey>,
    members: ArcSwap<Vec<Arc<Member>>>,
    turn: AtomicUsize,
}

/// One of them.
pub(super) struct Member {
    pub(super) session: Arc<Session>,
    pub(super) if_lost: IfLost,
    pub(super) places: Places,
}

impl Class {
    /// Nobody serves `key` yet.
    pub(super) fn new(asker: Arc<Asker>, key: Arc<CommandKey>) -> Self {
        Self { asker, key, members: ArcSwap::default(), turn: AtomicUsize::new(0) }
    }

    /// Others serve it from now on.
    pub(super) fn set_members(&self, members: Vec<Arc<Member>>) {
        self.members.store(Arc::new(members));
    }

    /// Sends a request to the next worker that has room for it.
    fn hand_out(&self, cx: &Context, request: &Request, from: Option<&str>) -> Result<(Arc<Member>, Sent)> {
        let members = self.members.load();
        let first = self.turn.fetch_add(1, Ordering::Relaxed).checked_rem(members.len()).unwrap_or_default();
        // The other half of its queue is for events, so that requests alone make nobody a slow consumer.
        let most_bytes = self.asker.settings.load().limits.outbound_bytes / 2;
        let mut full = false;
        for member in members.iter().cycle().skip(first).take(members.len()) {
            let Some(place) = member.places.take(request.data.len(), most_bytes) else {
                full = true;
                continue;
            };
            let question = Question {
                command: &request.command,
                data: &request.data,
                from,
                acks: Some(cx.clone()),
                held: Some(place),
            };
            if let Ok(sent) = self.asker.send(&member.session, question) {
                self.asker.metrics.worker_requests.increment(1);
                return Ok((Arc::clone(member), sent));
            }
        }
        if full {
            return Err(ErrorCode::TooManyRequests.into());
        }
        Err(Error::about(ErrorCode::PluginUnavailable, &self.key))
    }
}

#[async_trait]
impl Handler for Class {
    async fn call(self: Arc<Self>, cx: Context, request: Request) -> Outcome {
        // protocol.md §6: it carries `from` always.
        let from = sender(cx.caller());
        for _ in 0..MOST_TRIES {
            let (member, sent) = self.hand_out(&cx, &request, from.as_deref())?;
            if let Some(answer) = sent.answer().await {
                return answer.map(Answer::Reply);
            }
            if member.if_lost == IfLost::Fail {
                return Err(Error::about(ErrorCode::PluginUnavailable, name(&member.session)));
            }
            self.asker.metrics.worker_retries.increment(1);
        }
        Err(Error::about(ErrorCode::PluginUnavailable, &self.key))
    }
}
