//! How much longer the slowest answers take, at half of what the server can do. What is in flight together at
//! saturation is due together here: as many system calls a request.

use super::{
    Setting, Shape,
    requester::{Answers, Load},
    rpc,
};
use crate::{
    outcome::Metrics,
    pace::{self, Pace},
};

pub(super) async fn measure(setting: &Setting) -> Result<Metrics, String> {
    let peak = rpc::saturate(setting).await?;
    let per_second = peak.done as f64 / peak.seconds / 2.0;
    let Shape { connections, depth, .. } = setting.shape;
    let load = |index| Load {
        pace: Pace::share(per_second, index, connections).in_bursts(depth),
        window: usize::MAX,
        unwritten: usize::MAX,
        answers: Answers::AsTheyCome,
    };
    let (mut crew, gates) = rpc::crew(setting, "paced", load).await?;
    pace::open_gates(&crew.run, gates, per_second / depth as f64)?;
    let measured = crew.measure(&setting.plan, &setting.server).await?;
    let latencies = crew.run.latencies();
    let ratio = latencies.value_at_quantile(0.999) as f64 / latencies.value_at_quantile(0.5).max(1) as f64;
    Ok(Metrics::of_load(&measured).with_latencies(&latencies).with("p999_over_p50", ratio))
}
