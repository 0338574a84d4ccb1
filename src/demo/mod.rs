//! `crossfade demo`: two sample platforms, visitors, and the real proxy between them, on this machine alone.
//!
//! `cli::demo` sets the [`Stage`], starts the proxy by the stage's configuration file, and tells the stage
//! where visitors come in. From then on the demo does what an operator would: it shifts weights by commands to
//! the admin API, and looks at `/metrics`. It must never reach into the proxy by another way, nor leave
//! anything behind.

mod conductor;
mod meter;
mod page;
mod plain;
mod platform;
mod readings;
mod screen;
mod script;
mod stage;
mod steering;
mod view;
mod visitors;
mod wheel;

pub use stage::{Backstage, Doors, Playing, Stage};

/// One of the two platforms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    /// The stable one, that is left.
    Old,
    /// The candidate, that is moved to.
    New,
}

impl Side {
    /// Both, by their place in pairs of values.
    const BOTH: [Self; 2] = [Self::Old, Self::New];

    /// The backend's name.
    const fn name(self) -> &'static str {
        match self {
            Self::Old => "heroku",
            Self::New => "fly",
        }
    }

    /// What it is, in plain words.
    const fn role(self) -> &'static str {
        match self {
            Self::Old => "the old platform",
            Self::New => "the new platform",
        }
    }

    /// The one with this name.
    fn named(name: &str) -> Option<Self> {
        Self::BOTH.into_iter().find(|side| side.name() == name)
    }
}

/// Why the demo can't begin.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// No thread or socket.
    #[error("this machine gives the demo no thread or socket: {0}; raise its limits")]
    Machine(#[source] std::io::Error),
    /// No place for the configuration file.
    #[error("can't write the demo's configuration into {0}: {1}; set TMPDIR to a folder that can be written")]
    Folder(String, #[source] std::io::Error),
}
