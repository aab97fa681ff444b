//! What a connection costs that is logged in and does nothing.

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::{Setting, subscriber::TOPIC};
use crate::{
    outcome::Metrics,
    payload::{Payload, Stamp},
};

/// Before memory is looked at.
const REST: Duration = Duration::from_secs(3);

/// The shape's connections log in, and rest; then each gets one event, and rests.
pub(super) async fn measure(setting: &Setting) -> Result<Metrics, String> {
    let count = setting.shape.connections;
    let empty = setting.server.resident()?;
    let each = |resident: u64| resident.saturating_sub(empty) as f64 / count as f64;
    let links = setting.target.logins("idle", count).await?;
    tokio::time::sleep(REST).await;
    let idle = each(setting.server.resident()?);

    let subscribed = stream::iter(links).map(async |mut link| link.subscribe(TOPIC).await.map(|()| link));
    let mut links: Vec<_> = subscribed.buffered(64).try_collect().await?;
    let mut publisher = setting.target.login("publisher", count).await?;
    publisher.publish(TOPIC, Payload::new().stamped(Stamp { number: 0, due: 0 })).await?;
    for link in &mut links {
        link.delivered().await?;
    }
    tokio::time::sleep(REST).await;
    let used = each(setting.server.resident()?);
    Ok(Metrics::default()
        .with("empty_mib", empty as f64 / 1024.0)
        .with("idle_kib", idle)
        .with("used_kib", used))
}
