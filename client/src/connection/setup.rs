//! What a new connection needs before the application may use it: login and subscriptions.

use std::sync::Arc;

use futures_util::future::join_all;
use serde::Deserialize;
use tokio::sync::mpsc;

use super::{Session, Shared};
use crate::{
    AnswerError, DisconnectReason, Error, RefusedSubscription, SessionId, Subscription,
    message::Command,
    pending::{Answer, Effect, Outgoing, exchange},
};

/// Logs in and renews the subscriptions. Gives back those that the broker refused, which are forgotten.
pub(super) async fn set_up(
    shared: Arc<Shared>,
    queue: mpsc::Sender<Outgoing>,
) -> Result<Vec<RefusedSubscription>, DisconnectReason> {
    if let Some(login) = &shared.options.login {
        let call = (Command::core("user", "login"), &login.to_data());
        let answer = exchange(&shared.pending, &queue, call, Effect::None, shared.options.timeouts).await;
        let session = logged_in(answer)?;
        *shared.session.lock() = Some(session);
    }
    let known = shared.subscriptions.lock().clone();
    let renewals = known.into_iter().map(|subscription| renew(&shared, &queue, subscription));
    let mut refused = Vec::new();
    for outcome in join_all(renewals).await {
        refused.extend(outcome?);
    }
    for RefusedSubscription { subscription, .. } in &refused {
        shared.forget(subscription);
    }
    Ok(refused)
}

fn logged_in(answer: Result<Answer, Error>) -> Result<Session, DisconnectReason> {
    #[derive(Deserialize)]
    struct LoggedIn {
        session_id: SessionId,
    }
    match answer.and_then(|answer| answer.outcome) {
        Ok(data) => match serde_json::from_str::<LoggedIn>(data.get()) {
            Ok(LoggedIn { session_id }) => Ok(Session { id: session_id, answer: data.into() }),
            Err(error) => Err(DisconnectReason::SetupFailed(format!("the login's answer: {error}"))),
        },
        Err(Error::Answer(error)) => Err(DisconnectReason::LoginRefused(error)),
        Err(error) => Err(DisconnectReason::SetupFailed(error.to_string())),
    }
}

async fn renew(
    shared: &Shared,
    queue: &mpsc::Sender<Outgoing>,
    subscription: Subscription,
) -> Result<Option<RefusedSubscription>, DisconnectReason> {
    let call = (Command::core("event", "subscribe"), &subscription);
    let answer = exchange(&shared.pending, queue, call, Effect::None, shared.options.timeouts).await;
    match answer.and_then(|answer| answer.outcome) {
        Ok(_) => Ok(None),
        Err(Error::Answer(error)) if !error.is_transient() => Ok(Some(refusal(subscription, error))),
        Err(error) => Err(DisconnectReason::SetupFailed(error.to_string())),
    }
}

fn refusal(subscription: Subscription, error: AnswerError) -> RefusedSubscription {
    tracing::warn!(%error, ?subscription, "a subscription was not renewed");
    RefusedSubscription { subscription, error }
}
