//! What `/metrics` says, in Prometheus's text format.

use std::collections::BTreeMap;

use super::{Broker, http};

/// One reading of all metrics.
pub struct Metrics {
    /// The page.
    pub text: String,
    /// The help lines, by metric.
    pub help: BTreeMap<String, String>,
    /// The types, by metric.
    pub types: BTreeMap<String, String>,
    /// The values, by name and labels as they stand in the text.
    pub samples: BTreeMap<String, f64>,
}

impl Metrics {
    /// Reads the metrics of a broker that has an admin listener.
    pub async fn of(broker: &Broker) -> Self {
        let page = http::get(&format!("{}/metrics", broker.admin_url())).await;
        assert_eq!(page.status, 200, "{}", page.body);
        assert!(page.content_type.starts_with("text/plain"), "{}", page.content_type);
        Self::parse(page.body)
    }

    /// Reads the text format.
    pub fn parse(text: String) -> Self {
        let mut metrics = Self {
            text: String::new(),
            help: BTreeMap::new(),
            types: BTreeMap::new(),
            samples: BTreeMap::new(),
        };
        for line in text.lines().filter(|line| !line.is_empty()) {
            metrics.take(line);
        }
        Self { text, ..metrics }
    }

    fn take(&mut self, line: &str) {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            insert(&mut self.help, rest);
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            insert(&mut self.types, rest);
        } else if !line.starts_with('#') {
            let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {line:?}"));
            let value = value.parse().unwrap_or_else(|_| panic!("no number: {line:?}"));
            assert!(self.samples.insert(series.into(), value).is_none(), "twice: {line:?}");
        }
    }

    /// The sum over all labels of a metric; 0 where it is not there.
    pub fn total(&self, name: &str) -> f64 {
        self.series(name).map(|(_, value)| value).sum()
    }

    /// The sum over what has `label="value"`.
    pub fn labelled(&self, name: &str, label: &str, value: &str) -> f64 {
        let wanted = format!("{label}=\"{value}\"");
        self.series(name).filter(|(series, _)| series.contains(&wanted)).map(|(_, value)| value).sum()
    }

    fn series(&self, name: &str) -> impl Iterator<Item = (&str, f64)> {
        let samples = self.samples.iter().filter(move |(series, _)| metric(series) == name);
        samples.map(|(series, &value)| (series.as_str(), value))
    }
}

/// The name of a series, without its labels.
pub fn metric(series: &str) -> &str {
    series.split_once('{').map_or(series, |(name, _)| name)
}

fn insert(map: &mut BTreeMap<String, String>, rest: &str) {
    let (name, value) = rest.split_once(' ').unwrap_or((rest, ""));
    assert!(map.insert(name.into(), value.into()).is_none(), "{name} is described twice");
}
