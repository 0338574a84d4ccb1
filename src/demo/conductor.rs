//! Plays the script: shifts the weights, notices trouble, rolls back. Gives way to whoever takes the wheel.
//!
//! `stage` runs it beside the visitors. It acts as an operator would, by commands, and knows
//! what an operator would, from the metrics. It must never change what somebody else has changed.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::Side;
use super::meter::{Meter, Scrape};
use super::platform::Trouble;
use super::readings::Readings;
use super::script::{Act, acts};
use super::steering::Steering;
use super::view::{milliseconds, percent};
use super::wheel::Wheel;

/// How often the conductor looks up.
const LOOK: Duration = Duration::from_millis(50);
/// Trouble: so great a share of errors …
const TOO_MANY: f64 = 0.2;
/// … of no fewer requests than this.
const ENOUGH: f64 = 30.0;

/// What has happened so far, for the view.
#[derive(Debug, Clone, Default)]
pub(super) struct Chronicle {
    /// When, since the start, and what, in words.
    pub(super) entries: Vec<(Duration, String)>,
    /// When the script goes on, and how.
    pub(super) next: Option<(Duration, String)>,
    /// How long each shift took from the command until it was live.
    pub(super) shifts: Vec<Duration>,
    /// How long the new platform was in trouble before everything was back on the old one.
    pub(super) rollback: Option<Duration>,
    /// Somebody else steers.
    pub(super) is_handed_over: bool,
}

/// What the conductor and the view both see.
#[derive(Debug)]
pub(super) struct Scene {
    began: Instant,
    /// The latest figures.
    pub(super) readings: RefCell<Readings>,
    /// What has happened.
    pub(super) chronicle: RefCell<Chronicle>,
}

impl Scene {
    /// Begins now.
    pub(super) fn begin() -> Rc<Self> {
        Rc::new(Self { began: Instant::now(), readings: RefCell::default(), chronicle: RefCell::default() })
    }

    /// How long ago it began.
    pub(super) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn tell(&self, words: impl Into<String>) {
        self.chronicle.borrow_mut().entries.push((self.now(), words.into()));
    }
}

/// Whoever plays the script.
#[derive(Debug)]
pub(super) struct Conductor {
    /// What is seen.
    pub(super) scene: Rc<Scene>,
    /// The file.
    pub(super) steering: Steering,
    /// The way to change weights.
    pub(super) wheel: Wheel,
    /// The proxy's metrics.
    pub(super) meter: Meter,
    /// The new platform's.
    pub(super) trouble: Trouble,
}

impl Conductor {
    /// Plays the script in `length`, then watches, for ever.
    pub(super) async fn play(mut self, length: Duration) {
        let old = Side::Old.name();
        self.scene.tell(format!("visitors come; all of them are served by {old}, as ever"));
        if self.follow(length).await.is_some() {
            self.finish();
            while !self.is_foreign() {
                sleep(LOOK).await;
            }
        }
        self.hand_over();
        self.watch().await;
    }

    /// Nothing where somebody else took the wheel.
    async fn follow(&mut self, length: Duration) -> Option<()> {
        let mut troubled = self.scene.began;
        for (begins, act, ends) in acts(length) {
            self.scene.chronicle.borrow_mut().next = Some((begins, act.words()));
            self.rest(begins).await?;
            match act {
                Act::Shift(percent) => self.shift(percent).await,
                Act::Spoil => {
                    troubled = Instant::now();
                    self.trouble.set(true);
                    self.scene.tell(act.words());
                }
                Act::RollBackOnErrors => {
                    self.errors(ends).await?;
                    self.roll_back(troubled).await;
                }
                Act::Repair => {
                    self.trouble.set(false);
                    self.scene.tell(act.words());
                }
            }
        }
        self.scene.chronicle.borrow_mut().next = None;
        self.rest(length).await
    }

    /// Whether somebody else has changed anything.
    fn is_foreign(&self) -> bool {
        self.scene.readings.borrow().last().revision > self.wheel.revision() || self.steering.is_foreign()
    }

    /// Waits for its time, unless somebody else steers before.
    async fn rest(&self, until: Duration) -> Option<()> {
        let until = self.scene.began + until;
        while Instant::now() < until {
            sleep_until(until.min(Instant::now() + LOOK)).await;
            if self.is_foreign() {
                return None;
            }
        }
        Some(())
    }

    /// Waits until the metrics show trouble, or it is time.
    async fn errors(&self, until: Duration) -> Option<()> {
        while self.scene.now() < until && !self.is_in_trouble() {
            self.rest(self.scene.now() + LOOK).await?;
        }
        Some(())
    }

    fn is_in_trouble(&self) -> bool {
        let reading = self.scene.readings.borrow().judged(Side::New);
        reading.requests >= ENOUGH && reading.errors.is_some_and(|errors| errors >= TOO_MANY)
    }

    async fn shift(&mut self, target: u8) {
        let began = Instant::now();
        let outcome = self.wheel.shift(target, "the next step of the script").await;
        if let Some(took) = self.live(began, outcome) {
            let (new, took) = (Side::New.name(), milliseconds(took.as_secs_f64()));
            self.scene.tell(format!("{new} to {target} %: live after {took}"));
        }
    }

    async fn roll_back(&mut self, troubled: Instant) {
        let errors = self.scene.readings.borrow().judged(Side::New).errors.unwrap_or(0.0);
        let errors = percent(errors * 100.0);
        self.scene.tell(format!("{} answers {errors} errors: rolling back", Side::New.name()));
        let began = Instant::now();
        let outcome = self.wheel.roll_back(&format!("{errors} errors")).await;
        if let Some(took) = self.live(began, outcome) {
            let trouble = troubled.elapsed();
            self.scene.chronicle.borrow_mut().rollback = Some(trouble);
            let (old, took) = (Side::Old.name(), milliseconds(took.as_secs_f64()));
            let trouble = trouble.as_secs_f64();
            self.scene.tell(format!(
                "all back on {old}: live after {took}, {trouble:.1} s after the trouble began"
            ));
        }
    }

    /// How long a change took, or the telling of why it isn't live.
    fn live(&self, began: Instant, outcome: Result<(), String>) -> Option<Duration> {
        match outcome {
            Ok(()) => {
                let took = began.elapsed();
                self.scene.chronicle.borrow_mut().shifts.push(took);
                Some(took)
            }
            Err(error) => {
                self.scene.tell(error);
                None
            }
        }
    }

    fn finish(&self) {
        let (old, new) = (Side::Old.name(), Side::New.name());
        self.scene.tell(format!("moved: everything is on {new}, and {old} can be switched off"));
    }

    fn hand_over(&self) {
        self.trouble.set(false);
        let mut chronicle = self.scene.chronicle.borrow_mut();
        (chronicle.is_handed_over, chronicle.next) = (true, None);
        drop(chronicle);
        self.scene.tell("somebody else steers: the weights are yours now");
    }

    /// Tells what comes of other people's changes, for ever.
    async fn watch(&mut self) {
        let mut before = Scrape { revision: self.wheel.revision(), ..Scrape::default() };
        loop {
            if let Some(now) = self.meter.read().await {
                if let Some(words) = outcome(&before, &now) {
                    self.scene.tell(words);
                }
                before = now;
            }
            sleep(LOOK).await;
        }
    }
}

/// What has come of somebody's change between two looks.
fn outcome(before: &Scrape, now: &Scrape) -> Option<String> {
    let revision = now.revision;
    if now.revision > before.revision {
        let share =
            |side: Side| format!("{} {}", side.name(), percent(now.sides[side as usize].weight * 100.0));
        let [old, new] = Side::BOTH.map(share);
        return Some(format!("your change is live: {old}, {new} (revision {revision})"));
    }
    (now.is_refused && !before.is_refused)
        .then(|| format!("your change was refused; revision {revision} serves on (/readyz says why)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_of_a_change_is_told_once() {
        let first = Scrape { revision: 3, ..Scrape::default() };
        let mut second = Scrape { revision: 4, ..Scrape::default() };
        second.sides[0].weight = 0.6;
        second.sides[1].weight = 0.4;
        let words = outcome(&first, &second).unwrap();
        assert_eq!(words, "your change is live: heroku 60 %, fly 40 % (revision 4)");
        assert_eq!(outcome(&second, &second), None);
        let refused = Scrape { is_refused: true, ..second.clone() };
        assert!(outcome(&second, &refused).unwrap().contains("refused; revision 4 serves on"));
        assert_eq!(outcome(&refused, &refused), None);
    }
}
