//! Pure: which endpoints of one backend are left out for what their requests met: so many gateway failures in a row, or
//! too large a share of them.
//!
//! `watch` has it look at the counts once a second, or when an endpoint has just had its fill. It must never leave out
//! the last endpoint that is usable, nor any for longer than [`Ejection::most`].

use std::collections::VecDeque;
use std::time::Duration;

use crate::config::health::Ejection;
use crate::config::limits::health::EJECT_SECONDS;

/// What is known of one backend's endpoints.
#[derive(Debug, Default)]
pub struct Ejections {
    members: Vec<Member>,
}

/// What workers have counted of one endpoint, and whether it is out of use for another reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seen {
    /// Which one: its number.
    pub id: u64,
    /// Gateway failures in a row.
    pub streak: u32,
    /// Answers since it is there, failures among them.
    pub answers: u64,
    /// Gateway failures since it is there.
    pub failures: u64,
    /// Its probes say that it is down, or it can't be connected to.
    pub down: bool,
}

/// What a look comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The endpoint at this place is left out from now on, for so long.
    Ejected {
        /// Its place.
        at: usize,
        /// Why.
        cause: Cause,
        /// How long.
        lasts: Duration,
    },
    /// The one at this place is used again.
    Readmitted {
        /// Its place.
        at: usize,
    },
}

/// Why an endpoint is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// So many gateway failures in a row.
    Streak(u32),
    /// So many failures among so many answers.
    Share(u64, u64),
}

impl Ejections {
    /// Looks at all endpoints of the backend, `now` since some fixed moment.
    pub fn look(&mut self, rules: &Ejection, seen: &[Seen], now: Duration) -> Vec<Verdict> {
        self.keep(seen, now);
        let mut verdicts = Vec::new();
        for (at, (member, seen)) in self.members.iter_mut().zip(seen).enumerate() {
            member.count(seen, now);
            let over = member.out_until.is_some_and(|until| until <= now || rules_are_off(rules));
            if over {
                member.readmit(now);
                verdicts.push(Verdict::Readmitted { at });
            } else if member.out_until.is_none() {
                member.calm(rules, now);
            }
        }
        self.eject(rules, seen, now, &mut verdicts);
        self.rescue(seen, now, &mut verdicts);
        verdicts
    }

    /// Whether the endpoint at this place is left out.
    pub fn is_out(&self, at: usize) -> bool {
        self.members.get(at).is_some_and(|member| member.out_until.is_some())
    }

    /// Leaves out who deserves it, as long as another one stays.
    fn eject(&mut self, rules: &Ejection, seen: &[Seen], now: Duration, verdicts: &mut Vec<Verdict>) {
        let mut usable = self.usable(seen);
        for (at, (member, seen)) in self.members.iter_mut().zip(seen).enumerate() {
            // What it was left out for is still in the counts of a look that has just let it in.
            let fit = member.out_until.is_none() && !member.fresh;
            let Some(cause) = member.cause(rules, seen).filter(|_| fit) else { continue };
            // One that is down isn't among the usable.
            if usable < 1 + usize::from(!seen.down) {
                continue;
            }
            usable -= usize::from(!seen.down);
            let lasts = member.eject(rules, now);
            verdicts.push(Verdict::Ejected { at, cause, lasts });
        }
    }

    /// When all others are down, those that are left out are the best there is.
    fn rescue(&mut self, seen: &[Seen], now: Duration, verdicts: &mut Vec<Verdict>) {
        if self.usable(seen) > 0 {
            return;
        }
        for (at, (member, seen)) in self.members.iter_mut().zip(seen).enumerate() {
            if member.out_until.is_some() && !seen.down {
                member.readmit(now);
                verdicts.push(Verdict::Readmitted { at });
            }
        }
    }

    fn usable(&self, seen: &[Seen]) -> usize {
        let members = self.members.iter().zip(seen);
        members.filter(|(member, seen)| member.out_until.is_none() && !seen.down).count()
    }

    /// Brings the members in line with the endpoints that there are; who stays keeps what is known.
    fn keep(&mut self, seen: &[Seen], now: Duration) {
        if self.members.iter().map(|member| member.id).eq(seen.iter().map(|seen| seen.id)) {
            return;
        }
        let mut before = std::mem::take(&mut self.members);
        let known = |seen: &Seen| {
            let at = before.iter().position(|member| member.id == seen.id);
            at.map_or_else(|| Member::new(seen, now), |at| before.swap_remove(at))
        };
        self.members = seen.iter().map(known).collect();
    }
}

/// What is known of one endpoint.
#[derive(Debug)]
struct Member {
    id: u64,
    /// What was counted at the looks of the last [`EJECT_SECONDS`], the oldest first.
    window: VecDeque<(Duration, u64, u64)>,
    out_until: Option<Duration>,
    /// How many ejections it has behind it that aren't forgiven.
    level: u32,
    /// Since when it is in, or was last forgiven.
    calm_since: Duration,
    /// This look has let it in.
    fresh: bool,
}

impl Member {
    fn new(seen: &Seen, now: Duration) -> Self {
        let window = VecDeque::from([(now, seen.answers, seen.failures)]);
        Self { id: seen.id, window, out_until: None, level: 0, calm_since: now, fresh: false }
    }

    fn count(&mut self, seen: &Seen, now: Duration) {
        self.fresh = false;
        let most = Duration::from_secs(EJECT_SECONDS as u64);
        while self.window.len() > 1 && self.window[1].0 + most <= now {
            self.window.pop_front();
        }
        let last = self.window.back().map_or(Duration::ZERO, |(at, ..)| *at);
        // Looks that come by request don't make the window longer.
        if self.window.len() < 2 || last + Duration::from_millis(500) <= now {
            self.window.push_back((now, seen.answers, seen.failures));
        }
    }

    fn cause(&self, rules: &Ejection, seen: &Seen) -> Option<Cause> {
        if rules.after > 0 && seen.streak >= rules.after {
            return Some(Cause::Streak(seen.streak));
        }
        let &(_, answers, failures) = self.window.front()?;
        let answers = seen.answers.saturating_sub(answers);
        let failures = seen.failures.saturating_sub(failures);
        let many = rules.error_percent > 0 && answers >= rules.min_requests;
        let bad = failures.saturating_mul(100) >= answers.saturating_mul(u64::from(rules.error_percent));
        (many && bad).then_some(Cause::Share(failures, answers))
    }

    fn eject(&mut self, rules: &Ejection, now: Duration) -> Duration {
        let lasts = lasts(rules, self.level);
        self.level = self.level.saturating_add(1);
        self.out_until = Some(now + lasts);
        lasts
    }

    /// It begins anew: what it did before it was left out is paid for.
    fn readmit(&mut self, now: Duration) {
        self.out_until = None;
        self.calm_since = now;
        self.fresh = true;
        self.window.drain(..self.window.len().saturating_sub(1));
    }

    /// One ejection is forgiven for each stay that is as long as it was.
    fn calm(&mut self, rules: &Ejection, now: Duration) {
        if self.level > 0 && now >= self.calm_since + lasts(rules, self.level - 1) {
            self.level -= 1;
            self.calm_since = now;
        }
    }
}

fn lasts(rules: &Ejection, level: u32) -> Duration {
    rules.first.saturating_mul(1_u32.checked_shl(level).unwrap_or(u32::MAX)).min(rules.most())
}

fn rules_are_off(rules: &Ejection) -> bool {
    rules.after == 0 && rules.error_percent == 0
}

#[cfg(test)]
#[path = "ejection_tests.rs"]
mod tests;
