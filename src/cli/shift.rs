//! `crossfade shift`: give a backend another share.
//!
//! `cli` calls it. It must never say how much is too much: the proxy knows.

use std::process::ExitCode;

use clap::Args;

use crate::cli::asking::{Asking, OfRoute};
use crate::control::command::{CommandBody, CommandName, Portion};

/// Give a backend another share of the requests; the rest goes to stable.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  crossfade shift fly 5           5 percent to fly, the rest to stable
  crossfade shift fly +10%        10 percent more than now
  crossfade shift fly 25 --route web --reason 'errors are level'
  crossfade shift fly 100 --dry-run")]
pub(super) struct Shift {
    /// The backend
    #[arg(value_name = "BACKEND")]
    backend: String,
    /// Its share: 5 or 5%, 0 to 100; +5 and -5% are relative to now
    #[arg(value_name = "PERCENT", allow_hyphen_values = true, value_parser = portion)]
    percent: Portion,
    #[command(flatten)]
    of: OfRoute,
    #[command(flatten)]
    asking: Asking,
}

impl Shift {
    pub(super) fn carry_out(self) -> ExitCode {
        let (percent, delta) = match self.percent {
            Portion::Percent(percent) => (Some(percent), None),
            Portion::Delta(delta) => (None, Some(delta)),
        };
        let (backend, route) = (Some(self.backend), self.of.route);
        self.asking.carry_out(CommandBody {
            backend,
            percent,
            delta,
            route,
            ..CommandBody::of(CommandName::Shift)
        })
    }
}

fn portion(text: &str) -> Result<Portion, String> {
    const FORM: &str = "write it as 5, 5%, 0.5%, +5 or -5%";
    let number = text.strip_suffix('%').unwrap_or(text).trim();
    let signed = number.starts_with(['+', '-']);
    let begins = number.trim_start_matches(['+', '-']).starts_with(|c: char| c.is_ascii_digit() || c == '.');
    match number.parse() {
        Ok(number) if begins && signed => Ok(Portion::Delta(number)),
        Ok(number) if begins => Ok(Portion::Percent(number)),
        Ok(_) | Err(_) => Err(FORM.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percents_are_taken_as_people_write_them() {
        for (text, expected) in [
            ("5", Portion::Percent(5.0)),
            ("5%", Portion::Percent(5.0)),
            ("5 %", Portion::Percent(5.0)),
            ("0.5%", Portion::Percent(0.5)),
            (".5", Portion::Percent(0.5)),
            ("101", Portion::Percent(101.0)),
            ("+5", Portion::Delta(5.0)),
            ("-5%", Portion::Delta(-5.0)),
        ] {
            assert_eq!(portion(text), Ok(expected), "{text}");
        }
        for wrong in ["", "%", "five", "5%%", "5,5", "nan", "inf", "-inf", "+", "--5", "0x5", "5 fly"] {
            assert!(portion(wrong).is_err(), "{wrong}");
        }
    }
}
