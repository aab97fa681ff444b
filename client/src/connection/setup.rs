//! What a new connection needs before the application may use it: login, registrations and subscriptions.

use std::sync::Arc;

use futures_util::future::{join_all, try_join_all};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::{Session, Shared};
use crate::{
    AnswerError, DisconnectReason, Error, RefusedSubscription, SessionId, Subscription,
    message::Command,
    pending::{Answer, Effect, Outgoing},
};

/// Logs in, registers what is served, and renews the subscriptions. Gives back those that the broker refused, which
/// are forgotten.
pub(super) async fn set_up(
    shared: Arc<Shared>,
    queue: mpsc::Sender<Outgoing>,
) -> Result<Vec<RefusedSubscription>, DisconnectReason> {
    if let Some(login) = &shared.options.login {
        let data = login.to_data();
        let answer = exchange(&shared, &queue, Command::core("user", "login"), &data).await;
        let session = logged_in(answer)?;
        *shared.session.lock() = Some(session);
    }
    let registering = shared.options.registrations.iter().map(async |registration| {
        let registration = registration.with_default_inflight(shared.options.max_handlers);
        let answer = exchange(&shared, &queue, Command::core("registry", "register"), &registration).await;
        let failed = |error| DisconnectReason::SetupFailed(format!("{registration:?} was refused: {error}"));
        answer.and_then(|answer| answer.outcome).map(drop).map_err(failed)
    });
    try_join_all(registering).await?;
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

async fn exchange(
    shared: &Shared,
    queue: &mpsc::Sender<Outgoing>,
    command: Command<'_>,
    data: &(impl Serialize + Sync),
) -> Result<Answer, Error> {
    shared.pending.prepare(command, data, Effect::None)?.answer(queue, shared.options.timeouts).await
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
    let answer = exchange(shared, queue, Command::core("event", "subscribe"), &subscription).await;
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
