//! Answers of backends.

#[path = "."]
pub mod http1 {
    #[path = "../../src/upstream/http1/body.rs"]
    pub mod body;
    #[path = "../../src/upstream/http1/head.rs"]
    pub mod head;
}
