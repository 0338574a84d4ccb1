//! `crossfade demo`: see it work.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::app::{self, Start, Succession};
use crate::cli::{complain, report};
use crate::control::text;
use crate::demo::{Doors, Playing, Stage};
use crate::source::file;

/// See it work: two sample platforms, visitors, and a proxy between them, on this machine alone.
#[derive(Debug, Args)]
#[command(
    after_help = "The weights move by themselves for a minute; then everything serves on until Ctrl-C."
)]
pub(super) struct Demo {
    /// End by itself after so many seconds, 5 to 86400; below 60, the script is played faster
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(5..=86_400))]
    seconds: Option<u64>,
}

impl Demo {
    pub(super) fn carry_out(self) -> ExitCode {
        let stage = match Stage::set(self.seconds.map(Duration::from_secs)) {
            Ok(stage) => stage,
            Err(error) => return complain(&error),
        };
        match start(&stage) {
            Ok(start) => play(stage, start),
            Err(text) => report(&text),
        }
    }
}

fn start(stage: &Stage) -> Result<Start, String> {
    let path = stage.file().to_owned();
    let bytes = file::read(&path).map_err(|error| format!("error: {error}"))?;
    let shown = path.display().to_string();
    let config = text::read(&bytes, &shown).map_err(|unusable| unusable.report)?;
    Ok(Start { config, file: Some((path, bytes)), succession: Succession::None })
}

/// The real thing, but for who ends it.
fn play(stage: Stage, start: Start) -> ExitCode {
    let Playing { doors, ended, backstage } = match stage.play() {
        Ok(playing) => playing,
        Err(error) => return complain(&error),
    };
    let open = |bound: app::Bound| {
        if let (Some(&http), Some(metrics), Some(admin)) = (bound.http.first(), bound.metrics, bound.admin) {
            // Nobody takes it where the demo has ended meanwhile, and that is told by `ended`.
            let _ = doors.send(Doors { http, metrics, admin });
        }
    };
    let end = async {
        // A demo that broke off has ended, too.
        let _ = ended.await;
    };
    let served = app::run_until(start, open, || Ok(end));
    drop(backstage);
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&error),
    }
}
