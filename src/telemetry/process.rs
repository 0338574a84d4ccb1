//! What is counted of the process itself: the names of the families, and what they say.
//!
//! `metrics` makes them. A name must never change: dashboards and alerts go by it.

use super::families::Named;

pub(super) const CONNECTIONS: Named =
    ("crossfade_connections_open", "Visitors' connections that are open now, by listening address.");
pub(super) const WORKER_CONNECTIONS: Named =
    ("crossfade_worker_connections_open", "Visitors' connections that are open now, by worker thread.");
pub(super) const REVISION: Named =
    ("crossfade_revision", "Number of the configuration snapshot that serves now.");
pub(super) const RELOADS: Named =
    ("crossfade_config_reloads_total", "Times the configuration was read anew, by result.");
pub(super) const LAST_RELOAD_SUCCESSFUL: Named = (
    "crossfade_config_last_reload_successful",
    "1 if the configuration was accepted when last read, else 0.",
);
pub(super) const LAST_RELOAD_SUCCESS: Named = (
    "crossfade_config_last_reload_success_timestamp_seconds",
    "When the configuration was last accepted, in seconds since 1970.",
);
pub(super) const ACCESS_LOG_DROPPED: Named = (
    "crossfade_access_log_dropped_total",
    "Access records lost because the log's target was too slow or refused them.",
);
pub(super) const PANICS: Named =
    ("crossfade_panics_total", "Panics; each ended no more than one connection.");
pub(super) const CERTIFICATE_EXPIRY: Named = (
    "crossfade_certificate_expiry_timestamp_seconds",
    "When a certificate that is served ends, in seconds since 1970, by its first name.",
);
pub(super) const REFUSED: Named =
    ("crossfade_refused_connections_total", "Visitors' connections closed before a request, by reason.");

pub(super) const COMMANDS: Named = (
    "crossfade_commands_total",
    "Commands of people, dry runs aside, by what was asked and what came of it.",
);
pub(super) const OVERRIDES: Named = (
    "crossfade_override_timestamp_seconds",
    "Since when commands have a route differ from the file, in seconds since 1970.",
);
pub(super) const STATE_KEPT: Named =
    ("crossfade_state_kept", "1 if a restart would find every change again, 0 if some would be forgotten.");
pub(super) const MEMORY_LIMIT: Named = (
    "crossfade_memory_limit_bytes",
    "Memory that there may be, by configuration, cgroup or machine; 0 for any.",
);
pub(super) const MEMORY_LEVEL: Named = (
    "crossfade_memory_level",
    "How scarce memory is: 0 there is enough, 1 tight, 2 short: requests are refused.",
);
pub(super) const UPGRADES: Named =
    ("crossfade_upgrades_total", "Times another process was to take over, by result.");
pub(super) const BEHIND: Named =
    ("crossfade_draining_processes", "Processes that were upgraded and finish what they have in flight.");
