"""WebSockets through Crossfade: a real client (`websockets`), real frames, two backends over TLS."""

import json
import os
import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from processes import crossfade, websocket_app
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect


def configuration(ports, certificate, weights="{ stable = 100, candidate = 0 }", server=""):
    return f"""
[server]
http = "127.0.0.1:0"
metrics = "127.0.0.1:0"
{server}

[backends.stable]
url = "https://localhost:{ports["stable"]}"
ca_file = "{certificate.ca}"

[backends.candidate]
url = "https://127.0.0.1:{ports["candidate"]}"
ca_file = "{certificate.ca}"

[[routes]]
name = "web"
stable = "stable"
weights = {weights}
sticky = "cookie"
pin = {{ header = "X-Crossfade-Backend" }}
"""


@pytest.fixture(scope="module")
def ports(certificate):
    running = {}
    try:
        for name in ("stable", "candidate"):
            running[name] = websocket_app(name, certificate)
        yield {name: process.address.rsplit(":", 1)[1] for name, process in running.items()}
    finally:
        for process in running.values():
            process.stop()


@pytest.fixture(scope="module")
def proxy(ports, certificate, tmp_path_factory):
    config = tmp_path_factory.mktemp("websockets") / "crossfade.toml"
    config.write_text(configuration(ports, certificate))
    process = crossfade(config)
    yield process
    process.stop()


def visit(proxy, path, **options):
    return connect(f"ws://{proxy.address}{path}", max_size=None, open_timeout=30, **options)


def who(proxy, **options):
    """The name of the backend that a new visitor gets."""
    with visit(proxy, "/whoami", **options) as socket:
        return json.loads(socket.recv())["app"]


def cookie(socket):
    return socket.response.headers.get("Set-Cookie", "").split(";")[0]


@pytest.mark.parametrize("compression", ["deflate", None])
def test_messages_come_back_as_they_were(proxy, compression):
    with visit(proxy, "/echo", compression=compression) as socket:
        for message in ("hello", "", "\u2713", b"", b"\x00\xff" * 1000, "x" * 1024 * 1024, os.urandom(1024 * 1024)):
            socket.send(message)
            assert socket.recv() == message
        socket.send(["a ", "fragmented ", "message"])
        assert socket.recv() == "a fragmented message"


def test_fragments_stay_fragments(proxy):
    with visit(proxy, "/fragments") as socket:
        socket.send("5")
        assert list(socket.recv_streaming()) == [*(f"part {number};" for number in range(5)), ""]


def test_pings_are_the_backends_to_answer(proxy):
    with visit(proxy, "/echo") as socket:
        assert socket.ping(b"are you there?").wait(30)
        socket.send("and on")
        assert socket.recv() == "and on"


def test_ten_thousand_messages_arrive_in_order(proxy):
    with visit(proxy, "/echo") as socket, ThreadPoolExecutor(1) as pool:
        sending = pool.submit(lambda: [socket.send(str(number)) for number in range(10_000)])
        assert [socket.recv(timeout=60) for _ in range(10_000)] == [str(number) for number in range(10_000)]
        sending.result()


@pytest.mark.parametrize("code", [1000, 1001, 1011, 3000, 4999])
def test_close_codes_pass_both_ways(proxy, code):
    with visit(proxy, "/close") as socket:
        socket.send(str(code))
        with pytest.raises(ConnectionClosed):
            socket.recv()
        assert (socket.close_code, socket.close_reason) == (code, "as you wish")
    with visit(proxy, "/closed") as socket:
        socket.close(code, "I have enough")
    # The app answers a close before it tells of it: on a busy machine it hadn't when it was asked.
    deadline = time.monotonic() + 30
    while [code, "I have enough"] not in seen(proxy):
        assert time.monotonic() < deadline, "the app never hears of it"


def seen(proxy):
    """How the app's visitors have closed."""
    with visit(proxy, "/seen") as socket:
        return json.loads(socket.recv())


def test_the_handshake_is_a_request_like_any_other(proxy):
    options = {"origin": "http://www.example.com", "subprotocols": ["unknown", "chat"]}
    with visit(proxy, "/whoami", **options) as socket:
        assert socket.subprotocol == "chat"
        said = json.loads(socket.recv())
        assert said["subprotocol"] == "chat"
        headers = [(name.lower(), value) for name, value in said["headers"]]
        for name, value in [
            ("origin", "http://www.example.com"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", proxy.address),
            ("x-forwarded-for", "127.0.0.1"),
        ]:
            assert [found for field, found in headers if field == name] == [value]


def test_a_handshake_that_is_refused_is_refused_by_the_backend(proxy):
    with pytest.raises(InvalidStatus) as refused:
        visit(proxy, "/private")
    assert refused.value.response.status_code == 401
    assert refused.value.response.body == b"log in first\n"


def test_a_visitor_stays_and_a_pin_reaches_the_other(proxy):
    with visit(proxy, "/whoami") as socket:
        assert json.loads(socket.recv())["app"] == "stable"
        own = cookie(socket)
    assert re.fullmatch(r"crossfade=\d+", own)
    with visit(proxy, "/whoami", additional_headers={"Cookie": own}) as socket:
        assert json.loads(socket.recv())["app"] == "stable"
        assert cookie(socket) == ""
    assert who(proxy, additional_headers={"X-Crossfade-Backend": "candidate"}) == "candidate"


def test_a_cable_of_rails(proxy):
    with visit(proxy, "/cable", subprotocols=["actioncable-v1-json", "actioncable-unsupported"]) as socket:
        assert socket.subprotocol == "actioncable-v1-json"
        assert json.loads(socket.recv()) == {"type": "welcome"}
        identifier = json.dumps({"channel": "ChatChannel", "room": "1"})
        socket.send(json.dumps({"command": "subscribe", "identifier": identifier}))
        assert json.loads(socket.recv()) == {"identifier": identifier, "type": "confirm_subscription"}
        assert json.loads(socket.recv())["type"] == "ping"
        data = json.dumps({"action": "speak", "body": "hello"})
        socket.send(json.dumps({"command": "message", "identifier": identifier, "data": data}))
        broadcast = json.loads(socket.recv())
        assert broadcast["message"] == {"from": "stable", "action": "speak", "body": "hello"}


def test_a_channel_of_phoenix(proxy):
    with visit(proxy, "/socket/websocket?vsn=2.0.0") as socket:

        def push(*message):
            socket.send(json.dumps(message))
            return json.loads(socket.recv())

        joined = push("1", "1", "room:lobby", "phx_join", {})
        assert joined == ["1", "1", "room:lobby", "phx_reply", {"status": "ok", "response": {"app": "stable"}}]
        ok = {"status": "ok", "response": {}}
        assert push(None, "2", "phoenix", "heartbeat", {}) == [None, "2", "phoenix", "phx_reply", ok]
        assert push("1", "3", "room:lobby", "new_msg", {"body": "hi"}) == ["1", "3", "room:lobby", "phx_reply", ok]
        assert json.loads(socket.recv()) == ["1", None, "room:lobby", "new_msg", {"body": "hi"}]


def test_a_change_of_weights_leaves_a_socket_where_it_is(ports, certificate, tmp_path):
    config = tmp_path / "crossfade.toml"
    config.write_text(configuration(ports, certificate))
    process = crossfade(config)
    try:
        with visit(process, "/echo") as socket:
            config.write_text(configuration(ports, certificate, "{ stable = 0, candidate = 100 }"))
            deadline = time.monotonic() + 30
            while who(process) != "candidate":
                assert time.monotonic() < deadline, "the change is never live"
                socket.send("still here")
                assert socket.recv() == "still here"
            socket.send("and now")
            assert socket.recv() == "and now"
    finally:
        process.stop()


def test_a_drain_tells_both_sides_to_come_again(ports, certificate, tmp_path):
    config = tmp_path / "crossfade.toml"
    config.write_text(configuration(ports, certificate, server='drain_timeout = "20s"'))
    process = crossfade(config)
    with visit(process, "/closed") as socket, ThreadPoolExecutor(1) as pool:
        ending = pool.submit(process.stop)
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=30)
        assert socket.close_code == 1012
        assert ending.result() == 0
    again = crossfade(config)
    try:
        with visit(again, "/seen") as socket:
            assert [1012, ""] in json.loads(socket.recv()), "the visitor's own close frame has reached it"
    finally:
        again.stop()
