//! Pure: how many requests a backend gets at a time, by how long its answers take.
//!
//! `control::adapting` tells it of the answers some times a second. While they take about as long as usual the bound
//! grows; where they take much longer it goes at once to what would answer in time, if the backend works on all at the
//! same speed (Little's law). It must never take a backend that is slow by itself for one that has too much to do: what
//! doesn't get faster with less to do is usual from then on.

use std::time::Duration;

use crate::config::limits::overload::{
    ADAPTIVE_ANSWERS, ADAPTIVE_LEARNING, ADAPTIVE_LEAST, ADAPTIVE_PROBE, ADAPTIVE_PROBE_TO, ADAPTIVE_STALE,
    ADAPTIVE_START, ADAPTIVE_TOLERANCE,
};
use crate::upstream::load::Answers;

/// One backend's bound.
#[derive(Debug)]
pub struct Adaptive {
    bound: f64,
    /// How long answers take with little to do, in seconds; nothing while that is being learned.
    usual: Option<f64>,
    heard: Heard,
    /// Answers to what was sent before the last cut say nothing of it.
    deaf_until: Duration,
    /// How things were when it began to take too long.
    trouble: Option<Trouble>,
    /// How things are but for a moment in which it was let have less to do, to see what comes of it.
    probe: Option<Probe>,
    /// Whether it was too much for once.
    has_cut: bool,
    /// When it is looked next whether less to do makes it faster.
    probes_at: Duration,
}

/// Answers since the last decision.
#[derive(Debug, Default)]
struct Heard {
    since: Duration,
    count: u64,
    micros: u64,
}

/// How answers come.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// How long they take, in seconds,
    mean: f64,
    /// and how many come in one.
    rate: f64,
}

/// How long nothing is heard at most after a change, in seconds.
const LONGEST: f64 = 5.0;

/// What a probe compares with.
#[derive(Debug, Clone, Copy)]
struct Probe {
    /// The bound to go back to,
    bound: f64,
    /// and how long answers took by it.
    mean: f64,
}

/// How things were before a row of cuts.
#[derive(Debug, Clone, Copy)]
struct Trouble {
    /// How long answers took,
    mean: f64,
    /// with so many in flight.
    in_flight: f64,
}

impl Adaptive {
    /// At its start.
    pub fn new() -> Self {
        Self {
            bound: ADAPTIVE_START,
            usual: None,
            heard: Heard::default(),
            deaf_until: Duration::ZERO,
            trouble: None,
            probe: None,
            has_cut: false,
            probes_at: Duration::ZERO,
        }
    }

    /// The bound after these answers, heard since the last look; `now` is since some fixed time. At most `most`.
    pub fn look(&mut self, now: Duration, answers: Answers, in_flight: u32, most: usize) -> usize {
        let most = most as f64;
        if let Some(pace) = self.hears(now, answers) {
            self.decide(now, pace, f64::from(in_flight));
        }
        self.bound = self.bound.clamp(ADAPTIVE_LEAST.min(most), most);
        self.bound as usize
    }

    /// From when on an answer is late, once that is known.
    pub fn late_after(&self) -> Option<Duration> {
        Some(Duration::from_secs_f64(self.usual? * ADAPTIVE_TOLERANCE))
    }

    /// How answers come now, once there are enough to tell.
    fn hears(&mut self, now: Duration, answers: Answers) -> Option<Pace> {
        let span = now.saturating_sub(self.heard.since);
        if now < self.deaf_until || span > ADAPTIVE_STALE {
            self.heard = Heard { since: now, ..Heard::default() };
            return None;
        }
        self.heard.count += u64::from(answers.count);
        self.heard.micros += answers.micros;
        let Heard { count, micros, .. } = self.heard;
        let mean = (micros as f64 / count.max(1) as f64 / 1e6).max(1e-6);
        // The first answers of all are the quick ones: the slow ones aren't there yet.
        let learns =
            self.usual.is_none() && span < ADAPTIVE_LEARNING.max(Duration::from_secs_f64(3.0 * mean));
        if count < ADAPTIVE_ANSWERS || learns {
            return None;
        }
        self.heard = Heard { since: now, ..Heard::default() };
        Some(Pace { mean, rate: count as f64 / span.as_secs_f64().max(1e-3) })
    }

    fn decide(&mut self, now: Duration, pace: Pace, in_flight: f64) {
        let mean = pace.mean;
        let before = self.usual.unwrap_or(mean);
        let usual = self.learned(before, mean, in_flight);
        self.usual = Some(usual);
        if let Some(probe) = self.probe.take() {
            self.bound = probe.bound;
            // It may be faster still.
            self.probes_at = now + if usual < before * 0.9 { ADAPTIVE_PROBE / 10 } else { ADAPTIVE_PROBE };
        }
        let good = usual * ADAPTIVE_TOLERANCE;
        let is_full = in_flight >= self.bound * 0.9;
        if mean > good && in_flight > ADAPTIVE_LEAST {
            self.trouble.get_or_insert(Trouble { mean, in_flight });
            self.cut(now, pace, (good / mean).max(0.3), in_flight);
            return;
        }
        self.trouble = None;
        if is_full && now >= self.probes_at {
            self.probe = Some(Probe { bound: self.bound, mean });
            self.cut(now, pace, ADAPTIVE_PROBE_TO, in_flight);
        } else if mean < good * 0.8 {
            // Quickly until it was too much for once.
            self.bound += if self.has_cut { self.bound.sqrt() } else { self.bound * 0.5 };
            self.deaf_until = now + Duration::from_secs_f64(mean.min(LONGEST));
        }
    }

    /// Lets so much less through of what waits for an answer; what is being answered stays in flight meanwhile.
    fn cut(&mut self, now: Duration, Pace { mean, rate }: Pace, to: f64, in_flight: f64) {
        let most = in_flight.min(self.bound);
        let unanswered = (rate * mean).min(most);
        self.bound = most - unanswered * (1.0 - to);
        self.has_cut = true;
        // By then all that is there now has gone, and what came in its place is there alone.
        self.deaf_until = now + Duration::from_secs_f64((mean.max(in_flight / rate) * 1.5).min(LONGEST));
    }

    /// How long answers usually take, now that they took `mean`.
    fn learned(&mut self, usual: f64, mean: f64, in_flight: f64) -> f64 {
        if let Some(probe) = self.probe {
            // Faster in proportion: it may be faster still with even less.
            let was_busy = mean < probe.mean * (1.0 + ADAPTIVE_PROBE_TO) / 2.0;
            return if was_busy { usual.min(mean) } else { mean };
        }
        if self.is_by_itself(mean) {
            self.trouble = None;
            return mean;
        }
        let weight = match () {
            // With so little to do it is slow by itself.
            () if mean < usual || in_flight <= ADAPTIVE_LEAST => 0.1,
            // Not by what we hold back; but it may be about to have too much to do.
            () if in_flight < self.bound * 0.8 => 0.03,
            () => 0.0,
        };
        usual + (mean - usual) * weight
    }

    /// Less to do makes a busy backend faster in proportion. With much less and not nearly that, it is slow by itself.
    fn is_by_itself(&self, mean: f64) -> bool {
        let Some(trouble) = self.trouble else { return false };
        let left = self.bound / trouble.in_flight;
        left <= 0.4 && mean > trouble.mean * (1.0 + left) / 2.0
    }
}

impl Default for Adaptive {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
#[path = "adaptive_tests.rs"]
mod tests;
