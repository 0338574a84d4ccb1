//! The facts of one visitor's connection that all its requests share.
//!
//! `server::connection` makes one per connection. It must never change with a request: what does is the
//! exchange's.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use http::HeaderValue;

use crate::headers::origin::{Peer, Scheme};
use crate::headers::outgoing::client_value;
use crate::proxy::link::Link;
use crate::proxy::tunnel::Begin;
use crate::proxy::worker::Worker;

/// One connection.
#[derive(Debug)]
pub struct Downstream {
    /// The worker that owns it.
    pub worker: Rc<Worker>,
    /// The cells shared with the reader of its bytes.
    pub link: Rc<Link>,
    /// Who is at its other end.
    pub peer: Peer,
    /// That address as a field value.
    pub peer_value: HeaderValue,
    /// Our own address: the host of an HTTP/1.0 request that names none.
    pub local: SocketAddr,
    /// How its streams become tunnels, where it has streams.
    pub streams: Option<Begin>,
}

impl Downstream {
    /// A connection from `peer` to our address `local`.
    pub fn new(worker: Rc<Worker>, link: Rc<Link>, peer: IpAddr, local: SocketAddr, scheme: Scheme) -> Self {
        let address = peer.to_canonical();
        Self {
            worker,
            link,
            peer: Peer { address, scheme },
            peer_value: client_value(address),
            local,
            streams: None,
        }
    }

    /// One whose streams may become tunnels.
    pub fn with_streams(self, begin: Begin) -> Self {
        Self { streams: Some(begin), ..self }
    }
}
