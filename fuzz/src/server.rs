//! What reads a visitor's bytes first.

#[path = "../../src/server/chunked.rs"]
pub mod chunked;
#[path = "../../src/server/framing.rs"]
pub mod framing;
#[path = "../../src/server/proxy_protocol.rs"]
pub mod proxy_protocol;
