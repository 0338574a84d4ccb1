//! Answers of backends, and what is written on connections of HTTP/1.1.

#[path = "../../src/upstream/out.rs"]
pub mod out;

#[path = "."]
pub mod http1 {
    #[path = "../../src/upstream/http1/body.rs"]
    pub mod body;
    #[path = "../../src/upstream/http1/head.rs"]
    pub mod head;
    #[path = "../../src/upstream/http1/request.rs"]
    pub mod request;
}
