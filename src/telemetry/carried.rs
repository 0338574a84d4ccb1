//! Counts that go on over an upgrade: what the process before has counted is added to what this one shows.
//!
//! `metrics` folds them into its text and reads them out of it, so that no family has to know. Every line of a counter
//! or a histogram is a sum, and sums add up. It must never show a series that the configuration no longer has, nor let
//! a count go down.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

/// All counts of a process: by family, each line of it and its value, in the order of the text.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Totals(BTreeMap<String, Vec<(String, f64)>>);

/// Families that aren't ours tell of one process alone.
const OURS: &str = "crossfade_";
/// The family that has every pair of route and backend there is.
const PAIRS: &str = "crossfade_weight_ratio";
/// The family that has every backend there is.
const BACKENDS: &str = "crossfade_backend_up";
/// What a request that had no route or backend counts under.
const NONE: &str = "route=\"none\",backend=\"none\"";

impl Totals {
    /// Those in the text of all families.
    pub(super) fn of(text: &str) -> Self {
        let mut totals = BTreeMap::new();
        for (family, lines) in families(text) {
            let Some(name) = family.filter(|name| name.starts_with(OURS)) else { continue };
            let samples = lines.iter().filter_map(|line| sample(line));
            let samples: Vec<_> = samples.map(|(key, value)| (key.to_owned(), value)).collect();
            totals.insert(name.to_owned(), samples);
        }
        Self(totals)
    }

    /// The text with these added to what it counts.
    pub(super) fn folded_into(&self, text: &str) -> String {
        let there = There::of(text);
        let mut folded = String::with_capacity(text.len() * 2);
        for (family, lines) in families(text) {
            let carried = family.and_then(|name| self.0.get(name)).map_or(&[][..], Vec::as_slice);
            let mut left: HashMap<&str, f64> =
                carried.iter().map(|(key, value)| (key.as_str(), *value)).collect();
            for line in lines {
                match sample(line).and_then(|(key, value)| Some((key, value + left.remove(key)?))) {
                    Some((key, sum)) => push(&mut folded, key, sum),
                    None => {
                        folded += line;
                        folded.push('\n');
                    }
                }
            }
            // What the process before has counted and this one hasn't yet: a rare status, a rare reason.
            let rare = carried.iter().filter(|(key, _)| left.contains_key(key.as_str()) && there.has(key));
            rare.for_each(|(key, value)| push(&mut folded, key, *value));
        }
        folded
    }
}

/// What the configuration has, as labels of a line begin. Names are plain: none has a quote or a brace in it.
struct There<'a> {
    pairs: BTreeSet<&'a str>,
    backends: BTreeSet<&'a str>,
}

impl<'a> There<'a> {
    fn of(text: &'a str) -> Self {
        let of = |family: &str| {
            let labels = text
                .lines()
                .filter_map(|line| line.strip_prefix(family)?.strip_prefix('{')?.split_once("} "));
            labels.map(|(labels, _)| labels).collect()
        };
        Self { pairs: of(PAIRS), backends: of(BACKENDS) }
    }

    /// Whether what a line is about still exists. What is about neither routes nor backends does.
    fn has(&self, key: &str) -> bool {
        let Some((_, labels)) = key.split_once('{') else { return true };
        let labels = labels.strip_suffix('}').unwrap_or(labels);
        let begins = |with: &&str| {
            labels.strip_prefix(*with).is_some_and(|rest| rest.is_empty() || rest.starts_with(','))
        };
        match labels {
            pair if pair.starts_with("route=") => begins(&NONE) || self.pairs.iter().any(begins),
            backend if backend.starts_with("backend=") => self.backends.iter().any(begins),
            _ => true,
        }
    }
}

/// Each family's lines, its own heads with them; its name where its values are sums.
fn families(text: &str) -> Vec<(Option<&str>, Vec<&str>)> {
    let mut families: Vec<(Option<&str>, Vec<&str>)> = Vec::new();
    for line in text.lines() {
        if line.starts_with("# HELP ") || families.is_empty() {
            families.push((None, Vec::new()));
        }
        let Some((name, lines)) = families.last_mut() else { continue };
        if let Some((family, kind)) = line.strip_prefix("# TYPE ").and_then(|line| line.split_once(' ')) {
            *name = matches!(kind, "counter" | "histogram").then_some(family);
        }
        lines.push(line);
    }
    families
}

/// A line's name with its labels, and its value.
fn sample(line: &str) -> Option<(&str, f64)> {
    let (key, value) = line.rsplit_once(' ').filter(|_| !line.starts_with('#'))?;
    Some((key, value.parse().ok()?))
}

fn push(text: &mut String, key: &str, value: f64) {
    text.push_str(key);
    text.push(' ');
    text.push_str(&value.to_string());
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "\
# HELP crossfade_backend_up Up.
# TYPE crossfade_backend_up gauge
crossfade_backend_up{backend=\"fly\"} 0
# HELP crossfade_first_byte_seconds Time.
# TYPE crossfade_first_byte_seconds histogram
crossfade_first_byte_seconds_bucket{route=\"web\",backend=\"fly\",le=\"0.001\"} 1
crossfade_first_byte_seconds_bucket{route=\"web\",backend=\"fly\",le=\"+Inf\"} 3
crossfade_first_byte_seconds_sum{route=\"web\",backend=\"fly\"} 0.5
crossfade_first_byte_seconds_count{route=\"web\",backend=\"fly\"} 3
# HELP crossfade_requests_total Requests.
# TYPE crossfade_requests_total counter
crossfade_requests_total{route=\"none\",backend=\"none\",method=\"GET\",code=\"404\"} 4
crossfade_requests_total{route=\"web\",backend=\"fly\",method=\"GET\",code=\"200\"} 3
crossfade_requests_total{route=\"web\",backend=\"gone\",method=\"GET\",code=\"200\"} 9
# HELP crossfade_weight_ratio Weight.
# TYPE crossfade_weight_ratio gauge
crossfade_weight_ratio{route=\"web\",backend=\"fly\"} 1
# HELP process_cpu_seconds_total CPU.
# TYPE process_cpu_seconds_total counter
process_cpu_seconds_total 7
";

    #[test]
    fn sums_add_up_and_nothing_else_does() {
        let folded = Totals::of(OLD).folded_into(OLD);
        for line in [
            "crossfade_backend_up{backend=\"fly\"} 0",
            "crossfade_first_byte_seconds_bucket{route=\"web\",backend=\"fly\",le=\"0.001\"} 2",
            "crossfade_first_byte_seconds_bucket{route=\"web\",backend=\"fly\",le=\"+Inf\"} 6",
            "crossfade_first_byte_seconds_sum{route=\"web\",backend=\"fly\"} 1",
            "crossfade_requests_total{route=\"web\",backend=\"fly\",method=\"GET\",code=\"200\"} 6",
            "crossfade_weight_ratio{route=\"web\",backend=\"fly\"} 1",
            "process_cpu_seconds_total 7",
        ] {
            assert!(folded.lines().any(|found| found == line), "{line} in\n{folded}");
        }
        assert_eq!(folded.lines().count(), OLD.lines().count());
        assert_eq!(Totals::default().folded_into(OLD), OLD);
    }

    #[test]
    fn what_is_not_counted_again_yet_stays_unless_it_is_gone() {
        let fresh: String =
            OLD.lines().filter(|line| !line.contains("code=")).map(|line| format!("{line}\n")).collect();
        let folded = Totals::of(OLD).folded_into(&fresh);
        let lines: Vec<&str> = folded.lines().filter(|line| line.contains("code=")).collect();
        let kept: Vec<&str> =
            OLD.lines().filter(|line| line.contains("code=") && !line.contains("gone")).collect();
        assert_eq!(lines, kept);
        let at = |text: &str| folded.find(text).unwrap();
        assert!(
            at("# TYPE crossfade_requests_total") < at("code=\"404\"")
                && at("code=\"404\"") < at("weight_ratio")
        );
    }
}
