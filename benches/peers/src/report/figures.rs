//! Medians and ratios of what was measured.

use crate::outcome::Outcome;

/// One figure: of which work, shape and system, and which of the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Figure {
    pub(crate) work: &'static str,
    pub(crate) shape: &'static str,
    pub(crate) system: &'static str,
    pub(crate) metric: &'static str,
}

/// All rounds.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    outcomes: Vec<Outcome>,
}

impl Figures {
    /// From lines of JSON.
    pub(crate) fn read(lines: &str) -> Result<Self, String> {
        let outcomes = lines.lines().map(serde_json::from_str).collect::<Result<_, _>>();
        Ok(Self { outcomes: outcomes.map_err(|error| format!("not a line of results: {error}"))? })
    }

    /// Works, shapes and systems in the order in which they were measured first, without repetition.
    pub(crate) fn names(&self, work: Option<&str>) -> Vec<[&str; 3]> {
        let mut names = Vec::new();
        for outcome in self.outcomes.iter().filter(|outcome| work.is_none_or(|work| work == outcome.work)) {
            let name = [&*outcome.work, &outcome.shape, &outcome.system];
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// A metric of every round, with the round.
    fn rounds_of(&self, [work, shape, system]: [&str; 3], metric: &str) -> Vec<(u32, f64)> {
        let is_it =
            |outcome: &&Outcome| [&*outcome.work, &outcome.shape, &outcome.system] == [work, shape, system];
        let value = |outcome: &Outcome| Some((outcome.round, *outcome.metrics.0.get(metric)?));
        self.outcomes.iter().filter(is_it).filter_map(value).collect()
    }

    /// The median, the least and the most of all rounds.
    pub(crate) fn spread(&self, name: [&str; 3], metric: &str) -> Option<[f64; 3]> {
        let mut values: Vec<_> = self.rounds_of(name, metric).into_iter().map(|(_, value)| value).collect();
        values.sort_unstable_by(f64::total_cmp);
        Some([median(&values)?, *values.first()?, *values.last()?])
    }

    /// The median of one figure.
    pub(crate) fn median(&self, figure: &Figure) -> Option<f64> {
        let [median, ..] = self.spread([figure.work, figure.shape, figure.system], figure.metric)?;
        Some(median)
    }

    /// The median of the ratios that two figures have in each round: what slows a whole round down drops out.
    pub(crate) fn ratio(&self, ours: &Figure, theirs: &Figure) -> Option<f64> {
        let rounds =
            |figure: &Figure| self.rounds_of([figure.work, figure.shape, figure.system], figure.metric);
        let theirs = rounds(theirs);
        let ratio = |(round, value): (u32, f64)| {
            let (_, floor) = theirs.iter().find(|(other, _)| *other == round)?;
            (*floor > 0.0).then_some(value / floor)
        };
        let mut ratios: Vec<_> = rounds(ours).into_iter().filter_map(ratio).collect();
        ratios.sort_unstable_by(f64::total_cmp);
        median(&ratios)
    }
}

/// Of values in order. Of an even number, the mean of the two in the middle.
fn median(sorted: &[f64]) -> Option<f64> {
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    Some(f64::midpoint(*sorted.get(middle - 1)?, upper))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Three rounds, the second of which was on a machine half as fast.
    pub(crate) fn figures() -> Figures {
        let mut lines = String::new();
        for (round, ours, theirs) in [(1, 300.0, 100.0), (2, 140.0, 50.0), (3, 260.0, 104.0)] {
            for (system, value) in [("jackfield-ws", ours), ("nats-ws", theirs)] {
                lines += &format!(
                    "{{\"round\":{round},\"work\":\"fan-out\",\"shape\":\"100x1\",\"system\":\"{system}\",\
                    \"metrics\":{{\"per_cpu_second\":{value}}}}}\n"
                );
            }
        }
        Figures::read(&lines).unwrap()
    }

    pub(crate) fn figure(system: &'static str) -> Figure {
        Figure { work: "fan-out", shape: "100x1", system, metric: "per_cpu_second" }
    }

    #[test]
    fn medians_are_in_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[1.0]), Some(1.0));
        assert_eq!(median(&[1.0, 2.0]), Some(1.5));
        assert_eq!(median(&[1.0, 2.0, 9.0]), Some(2.0));
        let figures = figures();
        assert_eq!(figures.median(&figure("nats-ws")), Some(100.0));
        assert_eq!(figures.median(&figure("redis-tcp")), None);
        let spread = figures.spread(["fan-out", "100x1", "jackfield-ws"], "per_cpu_second");
        assert_eq!(spread, Some([260.0, 140.0, 300.0]));
    }

    #[test]
    fn ratios_are_those_of_rounds() {
        let figures = figures();
        assert_eq!(figures.ratio(&figure("jackfield-ws"), &figure("nats-ws")), Some(2.8));
        assert_eq!(figures.ratio(&figure("jackfield-ws"), &figure("redis-tcp")), None);
    }

    #[test]
    fn names_come_once_and_lines_are_checked() {
        let figures = figures();
        let expected = [["fan-out", "100x1", "jackfield-ws"], ["fan-out", "100x1", "nats-ws"]];
        assert_eq!(figures.names(None), expected);
        assert!(figures.names(Some("rpc")).is_empty());
        Figures::read("{}").unwrap_err();
    }
}
