//! Tests of `steering`: each verb and what becomes of states by it, on a Controller's desk without a Controller.

use super::*;
use crate::control::overrides::changes;
use crate::control::overrides::tests::file;

/// A Controller without anything to control: what verbs do to states, with the history they leave.
struct Desk {
    file: Config,
    overrides: Overrides,
    history: VecDeque<Arc<Record>>,
}

impl Desk {
    fn new() -> Self {
        let file = file("weights = { heroku = 95, fly = 5 }");
        Self { file, overrides: Overrides::default(), history: VecDeque::new() }
    }

    fn standing(&self) -> Standing<'_> {
        Standing { file: &self.file, overrides: &self.overrides, history: &self.history, now: 0 }
    }

    fn take(&mut self, wanted: Wanted, undoes: Option<u64>) -> Result<(), Refused> {
        let wanted = wanted?;
        let changes = changes(&self.overrides.states(&self.file), &wanted.states(&self.file));
        self.overrides = wanted;
        let [actor, via, command, at] = ["a", "socket", "c", "t"].map(str::to_owned);
        let revision = self.history.len() as u64 + 1;
        self.history.push_back(Arc::new(Record {
            revision,
            at,
            actor,
            via,
            command,
            reason: None,
            changes,
            undoes,
        }));
        Ok(())
    }

    fn shift(&mut self, route: Option<&str>, backend: &str, to: Portion) -> Result<(), Refused> {
        let wanted = self.standing().shift(route, backend, to);
        self.take(wanted, None)
    }

    fn rollback(&mut self, route: Option<&str>) {
        let wanted = self.standing().rollback(route);
        self.take(wanted, None).unwrap();
    }

    fn undo(&mut self, revision: Option<u64>) -> Result<u64, Refused> {
        let (overrides, target) = self.standing().undo(None, revision)?;
        self.take(Ok(overrides), Some(target))?;
        Ok(target)
    }

    /// `fly` of `web`, and of `api`.
    fn fly(&self) -> [f64; 2] {
        [0, 1].map(|at| self.overrides.state(&self.file, &self.file.routes[at]).weights["fly"])
    }

    fn api(&self) -> [f64; 3] {
        let weights = self.overrides.state(&self.file, &self.file.routes[1]).weights;
        ["heroku", "fly", "aws"].map(|name| weights[name])
    }
}

#[test]
fn a_shift_leaves_the_rest_to_stable_and_others_alone() {
    let table = [
        ("fly", Portion::Percent(25.0), [65.0, 25.0, 10.0]),
        ("fly", Portion::Percent(0.0), [90.0, 0.0, 10.0]),
        ("fly", Portion::Percent(90.0), [0.0, 90.0, 10.0]),
        ("aws", Portion::Delta(5.0), [65.0, 20.0, 15.0]),
        ("aws", Portion::Delta(-10.0), [80.0, 20.0, 0.0]),
        ("fly", Portion::Percent(0.25), [89.75, 0.25, 10.0]),
    ];
    for (backend, to, wanted) in table {
        let mut desk = Desk::new();
        desk.shift(Some("api"), backend, to).unwrap();
        assert_eq!(desk.api(), wanted, "{backend} {to:?}");
        assert_eq!(desk.fly()[0], 5.0, "the other route is left alone");
    }
}

#[test]
fn without_a_route_every_split_with_the_backend_is_meant() {
    let mut desk = Desk::new();
    desk.shift(None, "fly", Portion::Delta(5.0)).unwrap();
    assert_eq!(desk.fly(), [10.0, 25.0]);
    desk.shift(None, "aws", Portion::Percent(20.0)).unwrap();
    assert_eq!((desk.fly(), desk.api()[2]), ([10.0, 25.0], 20.0));
}

#[test]
fn one_of_two_may_be_stable() {
    let mut desk = Desk::new();
    desk.shift(Some("web"), "heroku", Portion::Percent(60.0)).unwrap();
    assert_eq!(desk.fly()[0], 40.0);
}

#[test]
fn what_cannot_be_is_refused_in_one_sentence() {
    let unknown_route = RefusedReason::UnknownRoute;
    let unknown_backend = RefusedReason::UnknownBackend;
    let invalid = RefusedReason::Invalid;
    let percent = Portion::Percent;
    let table = [
        (Some("wep"), "fly", percent(5.0), unknown_route, "there is no route `wep`; there is `web`, `api`"),
        (
            Some("web"),
            "aws",
            percent(5.0),
            unknown_backend,
            "`aws` is no backend of the route `web`; there is `fly`, `heroku`",
        ),
        (
            None,
            "mars",
            percent(5.0),
            unknown_backend,
            "`mars` is no backend of any route; there is `aws`, `fly`, `heroku`",
        ),
        (
            Some("web"),
            "fly",
            percent(100.5),
            invalid,
            "`fly` can't get 100.5 %: write a number from 0 to 100",
        ),
        (
            Some("web"),
            "fly",
            percent(f64::NAN),
            invalid,
            "`fly` can't get NaN %: write a number from 0 to 100",
        ),
        (
            Some("web"),
            "fly",
            Portion::Delta(-6.0),
            invalid,
            "`fly` has 5 % of `web`: -6 would be -1 %; 0 to 100 is possible",
        ),
        (
            Some("api"),
            "fly",
            percent(95.0),
            invalid,
            "`fly` can get at most 90 % of `api`: the others have 10 %",
        ),
        (
            Some("api"),
            "heroku",
            percent(50.0),
            invalid,
            "`heroku` is the stable backend of `api`: it gets what the others leave; shift one of those",
        ),
    ];
    for (route, backend, to, reason, error) in table {
        let mut desk = Desk::new();
        let refused = desk.shift(route, backend, to).unwrap_err();
        assert_eq!((refused.error.as_str(), refused.reason), (error, reason));
        assert!(desk.overrides.is_empty());
    }
}

#[test]
fn names_from_outside_cannot_break_a_sentence() {
    let error = Desk::new().shift(Some(&"x\n".repeat(500)), "fly", Portion::Percent(1.0)).unwrap_err().error;
    assert!(!error.contains('\n') && error.len() < 200, "{error}");
}

#[test]
fn a_shift_ends_a_rollback() {
    let mut desk = Desk::new();
    desk.rollback(None);
    assert_eq!(desk.fly(), [0.0, 0.0]);
    desk.shift(Some("web"), "fly", Portion::Delta(5.0)).unwrap();
    assert_eq!(desk.fly(), [5.0, 0.0]);
    // That is what the file says.
    assert_eq!(desk.overrides.since().count(), 1);
}

#[test]
fn two_undos_go_two_steps_back() {
    let mut desk = Desk::new();
    for percent in [10.0, 25.0, 50.0] {
        desk.shift(Some("web"), "fly", Portion::Percent(percent)).unwrap();
    }
    assert_eq!((desk.undo(None).unwrap(), desk.fly()[0]), (3, 25.0));
    assert_eq!((desk.undo(None).unwrap(), desk.fly()[0]), (2, 10.0));
    // What comes after an undo is undone first.
    desk.shift(Some("web"), "fly", Portion::Percent(77.0)).unwrap();
    assert_eq!((desk.undo(None).unwrap(), desk.fly()[0]), (6, 10.0));
    assert_eq!((desk.undo(None).unwrap(), desk.fly()[0]), (1, 5.0));
    assert_eq!(desk.undo(None).unwrap_err().error, "there is no change to undo");
}

#[test]
fn an_undo_goes_back_to_before_a_revision_on_every_route() {
    let mut desk = Desk::new();
    desk.shift(Some("web"), "fly", Portion::Percent(10.0)).unwrap();
    desk.rollback(None);
    desk.shift(Some("api"), "fly", Portion::Percent(90.0)).unwrap();
    assert_eq!(desk.undo(Some(2)).unwrap(), 2);
    assert_eq!((desk.fly(), desk.api()), ([10.0, 20.0], [70.0, 20.0, 10.0]));
    assert_eq!(desk.undo(Some(1)).unwrap(), 1);
    assert!(desk.overrides.is_empty());
}

#[test]
fn an_undo_that_cannot_be_says_why() {
    let mut desk = Desk::new();
    assert_eq!(desk.undo(Some(9)).unwrap_err().error, "revision 9 isn't in the history, which is empty");
    desk.shift(Some("web"), "fly", Portion::Percent(10.0)).unwrap();
    assert_eq!(desk.undo(Some(9)).unwrap_err().error, "revision 9 isn't in the history, which begins with 1");
    let by_file = Record { via: "file".to_owned(), ..(*desk.history[0]).clone() };
    desk.history = VecDeque::from([Arc::new(by_file)]);
    assert_eq!(
        desk.undo(Some(1)).unwrap_err().error,
        "no command has changed anything since revision 1; the file is edited, not undone"
    );
    assert!(desk.undo(None).is_err());
}

/// Between a change and its undo the file took the backend away.
#[test]
fn an_undo_to_backends_that_are_gone_is_refused() {
    let mut desk = Desk::new();
    desk.shift(Some("api"), "aws", Portion::Percent(20.0)).unwrap();
    desk.shift(Some("api"), "aws", Portion::Percent(30.0)).unwrap();
    let api = &mut desk.file.routes[1];
    api.backends.remove(0);
    api.weights = crate::split::Weights::new(&[20.0, 80.0], 1).unwrap();
    desk.overrides.lift_for(&desk.file);
    let error = desk.undo(Some(2)).unwrap_err().error;
    assert!(
        error.starts_with("`api` can't go back to before revision 2: the file gives it other backends"),
        "{error}"
    );
}

impl Desk {
    fn undo_of(&mut self, route: &str) -> Result<u64, Refused> {
        let (overrides, target) = self.standing().undo(Some(route), None)?;
        self.take(Ok(overrides), Some(target))?;
        Ok(target)
    }
}

#[test]
fn an_undo_of_one_route_leaves_the_others_change_to_be_undone() {
    let mut desk = Desk::new();
    desk.shift(Some("web"), "fly", Portion::Percent(20.0)).unwrap();
    desk.shift(Some("api"), "fly", Portion::Percent(30.0)).unwrap();
    assert_eq!((desk.undo_of("web").unwrap(), desk.fly()), (1, [5.0, 30.0]));
    desk.shift(Some("web"), "fly", Portion::Percent(20.0)).unwrap();
    desk.rollback(None);
    assert_eq!((desk.undo_of("web").unwrap(), desk.fly()), (5, [20.0, 0.0]));
    assert_eq!((desk.undo(None).unwrap(), desk.fly()), (5, [20.0, 30.0]));
}

#[test]
fn an_undo_of_the_last_change_touches_no_route_that_it_did_not_change() {
    let mut desk = Desk::new();
    desk.shift(Some("web"), "fly", Portion::Percent(20.0)).unwrap();
    desk.shift(Some("api"), "fly", Portion::Percent(30.0)).unwrap();
    desk.undo_of("web").unwrap();
    assert_eq!((desk.undo(None).unwrap(), desk.fly()), (2, [5.0, 20.0]));
}

#[test]
fn what_an_undone_undo_brought_back_is_undone_next() {
    let mut desk = Desk::new();
    desk.shift(Some("web"), "fly", Portion::Percent(10.0)).unwrap();
    desk.shift(Some("web"), "fly", Portion::Percent(50.0)).unwrap();
    desk.undo(None).unwrap();
    assert_eq!((desk.undo(Some(3)).unwrap(), desk.fly()[0]), (3, 50.0));
    assert_eq!((desk.undo(None).unwrap(), desk.fly()[0]), (2, 10.0));
    assert_eq!((desk.undo(None).unwrap(), desk.fly()[0]), (1, 5.0));
}

#[test]
fn a_reload_is_nothing_to_undo() {
    let mut desk = Desk::new();
    desk.shift(Some("web"), "fly", Portion::Percent(10.0)).unwrap();
    let shift = (*desk.history[0]).clone();
    desk.history.push_back(Arc::new(Record {
        revision: 2,
        command: "reload".into(),
        changes: Vec::new(),
        ..shift
    }));
    assert_eq!(desk.undo(None).unwrap(), 1);
}
