//! Refusals, and the frames of WebSockets.

#[path = "../../src/proxy/refusal.rs"]
pub mod refusal;
#[path = "../../src/proxy/websocket.rs"]
pub mod websocket;
