//! What reads a visitor's bytes first, and what writes its responses.

#[path = "../../src/server/body.rs"]
pub mod body;
#[path = "../../src/server/chunked.rs"]
pub mod chunked;
#[path = "../../src/server/extension.rs"]
pub mod extension;
#[path = "../../src/server/framing.rs"]
pub mod framing;
#[path = "../../src/server/head.rs"]
pub mod head;
#[path = "."]
pub mod http1 {
    #[path = "../../src/server/http1/response.rs"]
    pub mod response;
}
#[path = "../../src/server/octets.rs"]
pub mod octets;
#[path = "../../src/server/proxy_protocol.rs"]
pub mod proxy_protocol;
