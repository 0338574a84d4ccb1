//! Has the kernel take no more for a socket than it can soon send.
//!
//! `server::listener` calls it for visitors' sockets, `upstream::connect` for backends'. It must never fail a
//! connection: a kernel that can't do it keeps more, that's all.

#[cfg(target_os = "linux")]
use std::os::fd::AsFd;

#[cfg(target_os = "linux")]
use socket2::SockRef;

#[cfg(target_os = "linux")]
use crate::config::limits::sockets::UNSENT;

/// From now on a write waits while [`UNSENT`] bytes are still to be sent. Connections have it from their listener.
#[cfg(target_os = "linux")]
pub fn bound_unsent(socket: &impl AsFd) {
    let _ = SockRef::from(socket).set_tcp_notsent_lowat(UNSENT);
}

/// Nothing is known of others.
#[cfg(not(target_os = "linux"))]
pub fn bound_unsent<S>(_socket: &S) {}
