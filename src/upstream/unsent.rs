//! Has the kernel take no more for a socket than it can soon send.
//!
//! `server::listener` and `server::socket` call it for visitors' sockets, `upstream::connect` for backends'. It must
//! never fail a connection: a kernel that can't do it keeps more, that's all.

#[cfg(target_os = "linux")]
use std::os::fd::AsFd;

#[cfg(target_os = "linux")]
use socket2::SockRef;

/// From now on a write waits while `most` bytes are still to be sent.
#[cfg(target_os = "linux")]
pub fn bound_unsent(socket: &impl AsFd, most: u32) {
    let _ = SockRef::from(socket).set_tcp_notsent_lowat(most);
}

/// Nothing is known of others.
#[cfg(not(target_os = "linux"))]
pub fn bound_unsent<S>(_socket: &S, _most: u32) {}
