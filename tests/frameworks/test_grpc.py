"""gRPC through Crossfade, by a real client and server: HTTP/2 on both sides, in the clear and over TLS to visitors."""

import queue
import sys
import threading
import time

import grpc
import pytest
from processes import APPS, Process, crossfade

CONFIG = """
[server]
http = "127.0.0.1:0"
https = "127.0.0.1:0"
[tls]
certificates = [{{ cert = "{cert}", key = "{key}" }}]
[backends.app]
url = "http://{app}"
http2 = "always"
[[routes]]
name = "web"
stable = "app"
[access_log]
target = "off"
"""


@pytest.fixture(scope="module")
def addresses(certificate, tmp_path_factory):
    """Of the proxy's two listeners before a gRPC server."""
    app = Process("grpc", [sys.executable, str(APPS / "grpc_app.py")], r"serving gRPC on (127\.0\.0\.1:\d+)")
    config = tmp_path_factory.mktemp("grpc") / "crossfade.toml"
    config.write_text(CONFIG.format(cert=certificate.cert, key=certificate.key, app=app.address))
    proxy = crossfade(config)
    over_tls = next(line.split("https://")[1].split()[0] for line in proxy.lines if "listening on https://" in line)
    yield {"clear": proxy.address, "tls": over_tls.replace("127.0.0.1", "localhost")}
    proxy.stop()
    app.stop()


@pytest.fixture(params=["clear", "tls"])
def channel(request, addresses, certificate):
    if request.param == "clear":
        opened = grpc.insecure_channel(addresses["clear"])
    else:
        with open(certificate.ca, "rb") as authority:
            credentials = grpc.ssl_channel_credentials(authority.read())
        opened = grpc.secure_channel(addresses["tls"], credentials)
    with opened:
        yield opened


def unary(channel, method):
    return channel.unary_unary(f"/test.Service/{method}")


def test_a_call_comes_back_with_its_trailers(channel):
    for size in (0, 5, 300_000):
        answer, call = unary(channel, "Echo").with_call(b"x" * size, timeout=20)
        assert answer == b"x" * size
        assert dict(call.trailing_metadata())["x-sum"] == str(size)
        assert call.code() == grpc.StatusCode.OK


def test_a_refusal_arrives_as_it_was_said(channel):
    with pytest.raises(grpc.RpcError) as refused:
        unary(channel, "Refuse")(b"", timeout=20)
    assert refused.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert refused.value.details() == "not today: \u00e9"


def test_messages_pass_both_ways_in_turn_and_then_each_side_ends(channel):
    waiting = queue.Queue()
    answers = channel.stream_stream("/test.Service/Chat")(iter(waiting.get, None), timeout=20)
    for number in range(20):
        # The answer to each is awaited before the next is sent: nothing is held back on the way.
        waiting.put(b"%d" % number)
        assert next(answers) == b"re: %d" % number
    # Half-closed: the client has said all it will.
    waiting.put(None)
    assert list(answers) == []
    assert answers.code() == grpc.StatusCode.OK


def test_a_stream_of_many_messages_is_whole(channel):
    counted = list(channel.unary_stream("/test.Service/Count")(b"5000", timeout=30))
    assert counted == [b"%d" % number for number in range(5000)]


def test_a_deadline_ends_the_call_at_both_ends(channel):
    began = time.monotonic()
    with pytest.raises(grpc.RpcError) as late:
        unary(channel, "Slow")(b"", timeout=0.5)
    assert late.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert time.monotonic() - began < 5
    # The server's threads are free again: the cancellation has reached it.
    for _ in range(16):
        assert unary(channel, "Echo")(b"y", timeout=20) == b"y"


def test_many_calls_at_once_share_connections(channel):
    echo = unary(channel, "Echo")
    calls = [echo.future(b"%d" % number, timeout=30) for number in range(200)]
    assert [call.result() for call in calls] == [b"%d" % number for number in range(200)]
    assert threading.active_count() < 100
