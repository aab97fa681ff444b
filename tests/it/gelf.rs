//! Logs on their way to GELF servers.

mod broker_log;
mod foreign;
mod guarantees;
mod load;
mod receiver;
mod records;
mod reload;
mod tls;
mod trouble;

use serde_json::{Value, json};

use crate::support::{Broker, Client, Metrics, Options, Transport, pause, within};

/// A broker with the plugin, its table, and the administration page.
fn with_gelf(table: &str) -> Options {
    Options::default()
        .plugins(&["auth-open", "gelf"])
        .config(&format!("[service.main.plugin.gelf]\n{table}"))
        .set("admin.listen=http://127.0.0.1:0")
}

async fn start(table: &str) -> (Broker, Client) {
    let broker = Broker::start(with_gelf(table)).await;
    let ann = broker.login(Transport::Tcp, "ann").await;
    (broker, ann)
}

/// A record that is told by its number.
fn numbered(n: usize) -> Value {
    json!({"source": "app", "message": "counted", "level": 6, "meta": {"n": n}})
}

/// Logs so many records, each before the answer to the one before it came; all must be accepted.
async fn log_all(client: &mut Client, numbers: std::ops::Range<usize>) {
    const AHEAD: usize = 500;
    let mut open = std::collections::VecDeque::new();
    for n in numbers {
        open.push_back(client.start("core/session/log", numbered(n)).await);
        if open.len() >= AHEAD {
            let answer = client.response(open.pop_front().unwrap()).await;
            assert_eq!(answer["result"], "ok", "{answer}");
        }
    }
    for tid in open {
        let answer = client.response(tid).await;
        assert_eq!(answer["result"], "ok", "{answer}");
    }
}

/// Waits until a metric of the plugin has a value, in the sum over its labels.
async fn until_metric(broker: &Broker, name: &str, wanted: impl Fn(f64) -> bool) -> Metrics {
    let name = format!("jackfield_plugin_gelf_{name}");
    within(&format!("{name} to be as wanted"), async {
        loop {
            let metrics = Metrics::of(broker).await;
            if wanted(metrics.total(&name)) {
                return metrics;
            }
            pause(10).await;
        }
    })
    .await
}

fn numbers(records: &[Value]) -> Vec<u64> {
    records.iter().filter_map(|record| record["_n"].as_u64()).collect()
}
