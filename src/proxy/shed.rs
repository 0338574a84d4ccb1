//! Pure: why a request that is as good as any is not served: there is no room for it.
//!
//! `proxy::gate` sheds what a backend can't take. It is answered at once, so that whoever asks may go on.

/// What there is no room in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shed {
    /// The backend has as much to do as it may, and as many wait for it as may.
    Overloaded,
    /// It has waited for the backend for `queue_timeout`.
    QueueTimeout,
    /// The process has as much memory as it may.
    Memory,
    /// The machine has no descriptor for another connection to a backend.
    Descriptors,
}

impl Shed {
    /// Every one, for metrics that exist before the first.
    pub const ALL: [Self; 4] = [Self::Overloaded, Self::QueueTimeout, Self::Memory, Self::Descriptors];

    /// The label in metrics, access records and `X-Crossfade-Error`.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Overloaded => "overloaded",
            Self::QueueTimeout => "queue_timeout",
            Self::Memory => "memory",
            Self::Descriptors => "no_descriptors",
        }
    }
}
