//! From the body of a command to what it means: a [`Steer`] can't say what makes no sense.
//!
//! `body` calls it with what JSON allowed. It must never look at what is live: whether a route or backend exists is the
//! Controller's to say.

use crate::config::limits::{ACTOR_SIZE, REASON_SIZE};
use crate::control::command::{CommandBody, CommandName, Portion, Steer, Verb};

/// What is asked, and the name of who asks, where the body says it; else one clear sentence.
pub(super) fn parse(body: CommandBody) -> Result<(Steer, Option<String>), String> {
    refuse_meaningless(&body)?;
    let CommandBody { command, route, backend, percent, delta, mode, revision, reason, actor, .. } = body;
    let verb = match command {
        CommandName::Shift => {
            let backend = named("backend", backend)?.ok_or("`shift` needs `backend`: say which")?;
            Verb::Shift { backend, to: portion(percent, delta)? }
        }
        CommandName::Rollback => Verb::Rollback,
        CommandName::Undo => Verb::Undo { revision },
        CommandName::Mode => Verb::Mode(mode.ok_or("`mode` needs `mode`: say `open` or `maintenance`")?),
        CommandName::Reload => Verb::Reload,
        CommandName::Upgrade => Verb::Upgrade,
        CommandName::Drain => Verb::Drain,
    };
    let steer = Steer {
        verb,
        route: named("route", route)?,
        reason: line("reason", reason, REASON_SIZE)?,
        if_revision: body.if_revision,
        dry_run: body.dry_run,
    };
    Ok((steer, line("actor", actor, ACTOR_SIZE)?))
}

/// What is said and means nothing would be believed to mean something.
fn refuse_meaningless(body: &CommandBody) -> Result<(), String> {
    use CommandName::{Drain, Mode, Reload, Shift, Undo, Upgrade};
    let command = body.command;
    let said = [
        ("backend", body.backend.is_some(), command == Shift),
        ("percent", body.percent.is_some(), command == Shift),
        ("delta", body.delta.is_some(), command == Shift),
        ("mode", body.mode.is_some(), command == Mode),
        ("revision", body.revision.is_some(), command == Undo),
        ("route", body.route.is_some(), !matches!(command, Reload | Upgrade | Drain)),
    ];
    match said.into_iter().find(|(_, is_there, has_meaning)| *is_there && !has_meaning) {
        Some((field, ..)) => {
            Err(format!("`{field}` means nothing to `{}`: leave it out", command_word(command)))
        }
        None => Ok(()),
    }
}

fn command_word(command: CommandName) -> &'static str {
    match command {
        CommandName::Shift => "shift",
        CommandName::Rollback => "rollback",
        CommandName::Undo => "undo",
        CommandName::Mode => "mode",
        CommandName::Reload => "reload",
        CommandName::Upgrade => "upgrade",
        CommandName::Drain => "drain",
    }
}

fn portion(percent: Option<f64>, delta: Option<f64>) -> Result<Portion, String> {
    match (percent, delta) {
        (Some(_), Some(_)) => Err("`percent` and `delta` exclude each other: say one".to_owned()),
        (None, None) => Err("`shift` needs `percent`, or `delta`: say how much".to_owned()),
        (Some(percent), None) if (0.0..=100.0).contains(&percent) => Ok(Portion::Percent(percent)),
        (Some(percent), None) => Err(format!("{percent} isn't a share: `percent` is 0 to 100")),
        (None, Some(delta)) if (-100.0..=100.0).contains(&delta) => Ok(Portion::Delta(delta)),
        (None, Some(delta)) => Err(format!("{delta} isn't a change of a share: `delta` is -100 to 100")),
    }
}

fn named(field: &str, name: Option<String>) -> Result<Option<String>, String> {
    match name {
        Some(name) if name.is_empty() => Err(format!("`{field}` is empty: write a name, or leave it out")),
        name => Ok(name),
    }
}

/// One line of text; nothing where it is blank.
fn line(field: &str, text: Option<String>, most: usize) -> Result<Option<String>, String> {
    let Some(text) = text else { return Ok(None) };
    let length = text.chars().count();
    if length > most {
        return Err(format!("`{field}` has {length} characters: {most} at most"));
    }
    if text.chars().any(is_control) {
        return Err(format!("`{field}` has control characters: write one line of text"));
    }
    let text = text.trim();
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

/// What ends a line, isn't seen, or changes how the rest of it is shown.
fn is_control(c: char) -> bool {
    let is_unseen = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}');
    let is_turning = matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{061c}');
    c.is_control() || is_unseen || is_turning
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model;

    fn parsed(json: &str) -> Result<(Steer, Option<String>), String> {
        parse(serde_json::from_str(json).unwrap())
    }

    fn verb(json: &str) -> Verb {
        parsed(json).unwrap().0.verb
    }

    #[test]
    fn each_command_means_what_it_says() {
        let shift = |to| Verb::Shift { backend: "fly".to_owned(), to };
        for (json, expected) in [
            (r#"{"command":"shift","backend":"fly","percent":5}"#, shift(Portion::Percent(5.0))),
            (r#"{"command":"shift","backend":"fly","percent":0.0}"#, shift(Portion::Percent(0.0))),
            (r#"{"command":"shift","backend":"fly","percent":100}"#, shift(Portion::Percent(100.0))),
            (r#"{"command":"shift","backend":"fly","delta":-2.5}"#, shift(Portion::Delta(-2.5))),
            (r#"{"command":"rollback"}"#, Verb::Rollback),
            (r#"{"command":"undo"}"#, Verb::Undo { revision: None }),
            (r#"{"command":"undo","revision":7}"#, Verb::Undo { revision: Some(7) }),
            (r#"{"command":"mode","mode":"maintenance"}"#, Verb::Mode(model::Mode::Maintenance)),
            (r#"{"command":"reload"}"#, Verb::Reload),
            (r#"{"command":"drain"}"#, Verb::Drain),
        ] {
            assert_eq!(verb(json), expected, "{json}");
        }
    }

    #[test]
    fn the_rest_goes_with_every_command() {
        let json = r#"{"command":"rollback","route":"web","reason":" too slow ",
            "actor":"Kim","if_revision":3,"dry_run":true}"#;
        let (steer, actor) = parsed(json).unwrap();
        let said = (steer.route.as_deref(), steer.reason.as_deref(), steer.if_revision, steer.dry_run);
        assert_eq!(said, (Some("web"), Some("too slow"), Some(3), true));
        assert_eq!(actor.as_deref(), Some("Kim"));
        let (steer, actor) = parsed(r#"{"command":"drain","reason":"  ","actor":""}"#).unwrap();
        assert_eq!((steer.reason, actor), (None, None), "nothing was said");
    }

    #[test]
    fn each_mistake_is_one_sentence() {
        for (json, sentence) in [
            (r#"{"command":"shift","percent":5}"#, "`shift` needs `backend`: say which"),
            (
                r#"{"command":"shift","backend":"","percent":5}"#,
                "`backend` is empty: write a name, or leave it out",
            ),
            (r#"{"command":"shift","backend":"fly"}"#, "`shift` needs `percent`, or `delta`: say how much"),
            (
                r#"{"command":"shift","backend":"fly","percent":5,"delta":5}"#,
                "`percent` and `delta` exclude each other: say one",
            ),
            (
                r#"{"command":"shift","backend":"fly","percent":100.1}"#,
                "100.1 isn't a share: `percent` is 0 to 100",
            ),
            (
                r#"{"command":"shift","backend":"fly","percent":-1}"#,
                "-1 isn't a share: `percent` is 0 to 100",
            ),
            (
                r#"{"command":"shift","backend":"fly","delta":101}"#,
                "101 isn't a change of a share: `delta` is -100 to 100",
            ),
            (r#"{"command":"mode"}"#, "`mode` needs `mode`: say `open` or `maintenance`"),
            (
                r#"{"command":"rollback","backend":"fly"}"#,
                "`backend` means nothing to `rollback`: leave it out",
            ),
            (r#"{"command":"undo","percent":5}"#, "`percent` means nothing to `undo`: leave it out"),
            (
                r#"{"command":"mode","mode":"open","delta":5}"#,
                "`delta` means nothing to `mode`: leave it out",
            ),
            (
                r#"{"command":"shift","backend":"a","percent":1,"mode":"open"}"#,
                "`mode` means nothing to `shift`: leave it out",
            ),
            (
                r#"{"command":"rollback","revision":1}"#,
                "`revision` means nothing to `rollback`: leave it out",
            ),
            (r#"{"command":"reload","route":"web"}"#, "`route` means nothing to `reload`: leave it out"),
            (r#"{"command":"drain","route":"web"}"#, "`route` means nothing to `drain`: leave it out"),
            (r#"{"command":"rollback","route":""}"#, "`route` is empty: write a name, or leave it out"),
            (
                r#"{"command":"rollback","reason":"a\nb"}"#,
                "`reason` has control characters: write one line of text",
            ),
            (
                r#"{"command":"rollback","actor":"a\u202eb"}"#,
                "`actor` has control characters: write one line of text",
            ),
        ] {
            assert_eq!(parsed(json).unwrap_err(), sentence, "{json}");
        }
    }

    #[test]
    fn nobody_takes_anothers_name_by_what_is_not_seen() {
        for c in ['\n', '\u{200b}', '\u{200f}', '\u{2060}', '\u{061c}', '\u{202e}', '\u{2066}', '\u{feff}'] {
            assert!(line("actor", Some(format!("Kim{c}")), ACTOR_SIZE).is_err(), "{}", c.escape_unicode());
        }
        assert!(line("actor", Some("Ünal 李".to_owned()), ACTOR_SIZE).is_ok());
    }

    #[test]
    fn numbers_that_are_none_and_texts_that_are_too_long_are_refused() {
        for percent in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(
                portion(Some(percent), None).is_err() && portion(None, Some(percent)).is_err(),
                "{percent}"
            );
        }
        let of = |length| line("actor", Some("é".repeat(length)), ACTOR_SIZE);
        assert!(of(ACTOR_SIZE).is_ok());
        assert_eq!(of(ACTOR_SIZE + 1).unwrap_err(), "`actor` has 65 characters: 64 at most");
    }
}
