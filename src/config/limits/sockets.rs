//! What the kernel may hold for one socket.
//!
//! Read as the rest of `limits`.

/// Bytes written to a TCP socket that the other side has no room for yet (TCP_NOTSENT_LOWAT); what is on its way to it
/// isn't counted, so a long fast line is filled as before. Without it the kernel takes megabytes for whoever doesn't
/// read: with 4000 of those it was out of memory for sockets, and the workers cleared pages for seconds.
pub const UNSENT: u32 = 128 * 1024;
/// … to a visitor who hasn't taken [`PROVEN`] bytes yet: of 4000 who don't read each costs the kernel an eighth.
pub const UNSENT_AT_FIRST: u32 = 16 * 1024;
/// Bytes that a visitor takes on a connection before the kernel gets [`UNSENT`] for it, by one call more. A page with
/// what belongs to it.
pub const PROVEN: u64 = 256 * 1024;
