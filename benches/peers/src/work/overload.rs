//! Clients offer twice what the server can do: first reading answers as they come, then none until the end.

use super::{
    Setting,
    requester::{Answers, Load},
    rpc,
};
use crate::{
    outcome::Metrics,
    pace::{self, Pace},
    run::Measured,
};

/// What a client has waiting for its socket before it sends no more.
const UNWRITTEN: usize = 64 * 1024;
/// What the kernel keeps of what a client does not read: little, so that answers pile up in the broker.
const UNREAD: u32 = 4 * 1024;
/// How often gates are opened: a client catches up with what is due.
const OPENINGS: f64 = 4000.0;

pub(super) async fn measure(setting: &Setting) -> Result<Metrics, String> {
    let peak = rate(&rpc::saturate(setting).await?);
    let before = setting.server.resident()?;
    let read = offer(setting, 2.0 * peak, Answers::AsTheyCome).await?;
    let while_read = setting.server.most_resident()?;
    let mut unread = setting.clone();
    unread.target.unread = Some(UNREAD);
    offer(&unread, 2.0 * peak, Answers::Afterwards).await?;
    let mib = |kib| kib as f64 / 1024.0;
    Ok(Metrics::of_load(&read)
        .with("of_peak", rate(&read) / peak)
        .with("before_mib", mib(before))
        .with("most_mib", mib(while_read))
        .with("most_unread_mib", mib(setting.server.most_resident()?)))
}

fn rate(measured: &Measured) -> f64 {
    measured.done as f64 / measured.seconds
}

/// Every request that a socket took is answered at the end, or this is an error.
async fn offer(setting: &Setting, per_second: f64, answers: Answers) -> Result<Measured, String> {
    let team = if answers == Answers::AsTheyCome { "reader" } else { "late-reader" };
    let connections = setting.shape.connections;
    let load = |index| Load {
        pace: Pace::share(per_second, index, connections),
        window: usize::MAX,
        unwritten: UNWRITTEN,
        answers,
    };
    let (mut crew, gates) = rpc::crew(setting, team, load).await?;
    pace::open_gates(&crew.run, gates, OPENINGS)?;
    crew.measure(&setting.plan, &setting.server).await
}
