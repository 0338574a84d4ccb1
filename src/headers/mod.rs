//! Header fields: what is believed of a visitor, what a backend receives, what goes back.
//!
//! The proxy calls it in this order for each request: [`parse_authority`] on the `Host`, [`Origin::resolve`],
//! [`outgoing::rewrite`], and on the way back [`hop_by_hop::strip_response`] and [`response::rewrite`].
//! Everything here is a function of its arguments: it never reads a clock, a socket or a global, never panics
//! on a visitor's bytes, and copies only the values that it changes.

pub mod authority;
pub mod field;
pub mod hop_by_hop;
pub mod length;
pub mod list;
pub mod names;
pub mod origin;
pub mod outgoing;
pub mod response;
pub mod upgrade;

pub use authority::{Authority, parse_authority};
pub use origin::{Hops, Origin, Peer, Scheme, Trust};
pub use outgoing::Outgoing;
pub use response::Public;
