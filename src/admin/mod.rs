//! What the process tells over HTTP, and where people change it: metrics and health, the admin API, the dashboard.
//!
//! Served by the control thread, so that a slow scrape or a dashboard never costs a visitor anything. `app` starts
//! [`serve`] on `server.metrics`, and [`Api`] on `<state dir>/admin.sock` and `server.admin`. What changes something is
//! asked of the Controller: nothing here may change anything itself.

mod api;
#[cfg(test)]
mod api_tests;
mod auth;
mod body;
mod document;
mod events;
#[cfg(test)]
mod events_tests;
mod failures;
mod gate;
mod hosts;
mod listen;
mod observe;
mod operations;
mod own;
mod page;
mod refusal;
mod room;
mod socket;
#[cfg(test)]
mod stage;
mod steer;
mod token;
mod told;
pub mod types;

pub use api::Api;
pub use auth::Key;
pub use gate::{Gate, GateKeeper};
pub use observe::serve;
pub use own::OwnError;
pub use socket::{AdminSocket, SocketError, SocketFile};
pub use token::{Token, TokenError, TokenFault, token_file, token_in};
