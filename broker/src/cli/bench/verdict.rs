//! What kept the load from being more: the broker, or something else.

use serde::Serialize;

/// From this share of what there is, a process counts as using all of it.
const FULL: f64 = 0.85;
/// From this share of what was due, a rate counts as kept.
const KEPT: f64 = 0.98;

/// What was the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Limit {
    /// The load generator: the broker could have done more.
    Client,
    Broker,
    /// This machine's cores were full: of the two together, or of other processes.
    Machine,
    /// The rate that was asked for.
    Rate,
    /// Nobody was busy: connections and depth, or the way between the two.
    Latency,
    /// Not the load generator; what the broker used is not known.
    NotClient,
    /// There was no load to limit.
    None,
}

/// What is known about it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Evidence {
    pub(super) cores: usize,
    pub(super) threads: usize,
    /// Cores in use, on average.
    pub(super) client: f64,
    pub(super) broker: Option<f64>,
    /// The share of this machine's CPU time that was used, by whomever.
    pub(super) machine: Option<f64>,
    /// Completed, of what was due by the rate.
    pub(super) kept: Option<f64>,
    pub(super) has_load: bool,
}

impl Evidence {
    /// The cores that the load generator may use.
    fn own_cores(&self) -> usize {
        self.threads.min(self.cores)
    }

    pub(super) fn limit(&self) -> Limit {
        if !self.has_load {
            return Limit::None;
        }
        if self.kept.is_some_and(|kept| kept >= KEPT) {
            return Limit::Rate;
        }
        if share(self.client, self.own_cores()) >= FULL {
            return Limit::Client;
        }
        if self.broker.is_some_and(|broker| share(broker, self.cores) >= FULL) {
            return Limit::Broker;
        }
        if self.machine.is_some_and(|used| used >= FULL) {
            return Limit::Machine;
        }
        if self.broker.is_some() { Limit::Latency } else { Limit::NotClient }
    }

    /// The limit in words.
    pub(super) fn explained(&self) -> String {
        let conclusion = match self.limit() {
            Limit::Client => "the client was the limit",
            Limit::Broker => "the broker was the limit",
            Limit::Machine => {
                "this machine's cores were full, whoever used the rest: go by the work per CPU-second"
            }
            Limit::Rate => "the rate was the limit",
            Limit::Latency => "neither was the limit: more connections or depth may give more",
            Limit::NotClient => "the client was not the limit",
            Limit::None => return self.shares(),
        };
        format!("{}: {conclusion}", self.shares())
    }

    fn shares(&self) -> String {
        let percent = |used: f64, cores: usize| share(used, cores) * 100.0;
        let own = format!(
            "the load generator used {:.0} % of the {} cores it may use",
            percent(self.client, self.own_cores()),
            self.own_cores()
        );
        match self.broker {
            Some(broker) => {
                format!("{own}, the broker {:.0} % of {}", percent(broker, self.cores), self.cores)
            }
            None => own,
        }
    }
}

fn share(used: f64, cores: usize) -> f64 {
    used / cores as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Evidence = Evidence {
        cores: 4,
        threads: 4,
        client: 0.4,
        broker: Some(0.4),
        machine: Some(0.2),
        kept: None,
        has_load: true,
    };

    #[test]
    fn who_is_busy_is_the_limit() {
        assert_eq!(QUIET.limit(), Limit::Latency);
        assert_eq!(Evidence { client: 3.9, ..QUIET }.limit(), Limit::Client);
        assert_eq!(Evidence { client: 0.97, threads: 1, ..QUIET }.limit(), Limit::Client);
        assert_eq!(Evidence { broker: Some(3.6), ..QUIET }.limit(), Limit::Broker);
        assert_eq!(
            Evidence { client: 1.9, broker: Some(1.9), machine: Some(0.95), ..QUIET }.limit(),
            Limit::Machine
        );
        assert_eq!(Evidence { broker: None, ..QUIET }.limit(), Limit::NotClient);
        assert_eq!(Evidence { kept: Some(0.99), client: 3.9, ..QUIET }.limit(), Limit::Rate);
        assert_eq!(Evidence { kept: Some(0.9), client: 3.9, ..QUIET }.limit(), Limit::Client);
        assert_eq!(Evidence { has_load: false, ..QUIET }.limit(), Limit::None);
    }

    #[test]
    fn it_is_said_in_words() {
        let text = Evidence { client: 3.88, broker: Some(1.6), ..QUIET }.explained();
        let expected = "the load generator used 97 % of the 4 cores it may use, the broker 40 % of 4: the client was the limit";
        assert_eq!(text, expected);
    }
}
