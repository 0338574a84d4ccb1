//! WebSockets over HTTP/2 (RFC 8441): a stream becomes a tunnel to a backend of HTTP/1.1.

use std::future::Future;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::client::SendRequest;
use h2::ext::Protocol;
use h2::{RecvStream, SendStream};
use http::{Request, Response, Version};
use tokio::net::TcpStream;

use crate::kit::websocket::{CLOSE, RESTART, TEXT, agreed, frame, masked};
use crate::kit::{Backend, Config, Peer, Proxy, ok};

const OPEN: &str = "crossfade_tunnels_open";

fn echo(mut peer: Peer) {
    peer.request();
    peer.send(agreed("Sec-WebSocket-Protocol: chat\r\nX-App: 1\r\n"));
    peer.echo();
}

/// Runs `visit` on a connection of HTTP/2 to the proxy, within a bounded time.
fn over_http2<F: Future<Output = ()>>(proxy: &Proxy, visit: impl FnOnce(SendRequest<Bytes>) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let address = proxy.address;
    let visit = async move {
        let socket = TcpStream::connect(address).await.unwrap();
        let (client, connection) = h2::client::handshake(socket).await.unwrap();
        // It ends with the runtime.
        tokio::spawn(async move { drop(connection.await) });
        let mut client = client.ready().await.unwrap();
        // The proxy's settings say that it takes extended CONNECT.
        while !client.is_extended_connect_protocol_enabled() {
            client = client.ready().await.unwrap();
            tokio::task::yield_now().await;
        }
        visit(client).await;
    };
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(20), visit).await.expect("in time") });
}

/// What a CONNECT for `protocol` comes to.
async fn connected(
    client: &mut SendRequest<Bytes>,
    protocol: &'static str,
) -> (Response<RecvStream>, SendStream<Bytes>) {
    let mut request = Request::connect("http://www.example.com/cable?x=1")
        .version(Version::HTTP_2)
        .header("sec-websocket-version", "13")
        .header("sec-websocket-protocol", "chat")
        .header("origin", "http://www.example.com")
        .body(())
        .unwrap();
    request.extensions_mut().insert(Protocol::from_static(protocol));
    let (response, stream) = client.send_request(request, false).unwrap();
    (response.await.unwrap(), stream)
}

/// Takes so many bytes of a stream.
async fn take(body: &mut RecvStream, length: usize) -> Bytes {
    let mut taken = BytesMut::new();
    while taken.len() < length {
        let data = body.data().await.expect("the stream goes on").unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        taken.extend_from_slice(&data);
    }
    taken.freeze()
}

/// Nothing more comes but the stream's end.
async fn ends(body: &mut RecvStream) {
    while let Some(data) = body.data().await {
        assert!(data.expect("it ends well").is_empty());
    }
}

#[test]
fn a_stream_becomes_a_tunnel_whose_bytes_pass_as_they_are() {
    let backend = Backend::start(echo);
    let proxy = Proxy::start(&Config::of(&backend));
    over_http2(&proxy, async |mut client| {
        let (response, mut stream) = connected(&mut client, "websocket").await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["sec-websocket-protocol"], "chat");
        for gone in ["connection", "upgrade", "sec-websocket-accept", "content-length"] {
            assert!(!response.headers().contains_key(gone), "{gone}");
        }
        let request = backend.next();
        assert_eq!(request.line(), "GET /cable?x=1 HTTP/1.1");
        assert_eq!(request.field("upgrade"), Some("websocket"));
        assert_eq!(request.field("connection"), Some("Upgrade"));
        assert_eq!(request.field("sec-websocket-key").map(str::len), Some(24));
        assert_eq!(request.field("sec-websocket-version"), Some("13"));
        assert_eq!(request.field("x-forwarded-host"), Some("www.example.com"));
        let mut body = response.into_body();
        for messages in [1, 500] {
            let message = masked(TEXT, &[b'x'; 100]).repeat(messages);
            stream.send_data(message.clone().into(), false).unwrap();
            assert_eq!(take(&mut body, message.len()).await, message);
        }
        proxy.wait_for_metric(OPEN, &[("backend", "only")], 1.0);
        stream.send_data(Bytes::new(), true).unwrap();
        ends(&mut body).await;
    });
    let record = proxy.record();
    assert_eq!((&record["method"], &record["protocol"]), (&"CONNECT".into(), &"HTTP/2".into()), "{record}");
    assert_eq!((&record["status"], &record["reason"]), (&101.into(), &serde_json::Value::Null), "{record}");
}

#[test]
fn other_streams_go_on_beside_a_tunnel() {
    let backend = Backend::start(|mut peer| {
        while let Some(request) = peer.request() {
            if request.field("upgrade").is_some() {
                peer.send(agreed(""));
                return peer.echo();
            }
            peer.send(ok("hello"));
        }
    });
    let proxy = Proxy::start(&Config::of(&backend));
    over_http2(&proxy, async |mut client| {
        let (tunnel, mut stream) = connected(&mut client, "websocket").await;
        for _ in 0..3 {
            let request = Request::get("http://a/").version(Version::HTTP_2).body(()).unwrap();
            let (response, _) = client.send_request(request, true).unwrap();
            let mut body = response.await.unwrap().into_body();
            assert_eq!(take(&mut body, 5).await, "hello");
        }
        let message = masked(TEXT, b"still here");
        stream.send_data(message.clone().into(), false).unwrap();
        assert_eq!(take(&mut tunnel.into_body(), message.len()).await, message);
    });
}

#[test]
fn what_is_not_agreed_to_is_no_tunnel() {
    let backend = Backend::start(|mut peer| {
        while let Some(request) = peer.request() {
            match request.target() {
                "/cable?x=1" => peer.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"),
                _ => peer.send(ok("hello")),
            };
        }
    });
    let proxy = Proxy::start(&Config::of(&backend));
    over_http2(&proxy, async |mut client| {
        let (response, _) = connected(&mut client, "websocket").await;
        assert_eq!(response.status(), 403);
        // Nothing but WebSockets is tunnelled.
        let (response, _) = connected(&mut client, "connect-udp").await;
        assert_eq!(
            (response.status().as_u16(), &response.headers()["x-crossfade-error"]),
            (405, &"method".parse().unwrap())
        );
    });
    let yes = Backend::answering(ok("a success that is none"));
    let proxy = Proxy::start(&Config::of(&yes));
    over_http2(&proxy, async |mut client| {
        let (response, _) = connected(&mut client, "websocket").await;
        assert_eq!(response.status(), 502, "200 would say that there is a tunnel");
    });
}

#[test]
fn a_drain_ends_it_with_a_close_frame() {
    let backend = Backend::start(echo);
    let mut proxy = Proxy::start(&Config::of(&backend).server("drain_timeout = \"20s\""));
    over_http2(&proxy, async |mut client| {
        let (response, mut stream) = connected(&mut client, "websocket").await;
        proxy.signal("TERM");
        let mut body = response.into_body();
        assert_eq!(take(&mut body, 4).await, frame(CLOSE, &RESTART));
        stream.send_data(masked(CLOSE, &RESTART).into(), true).unwrap();
        ends(&mut body).await;
    });
    assert_eq!(proxy.exit_code(), 0);
    assert_eq!(proxy.record()["reason"], "drained");
}
