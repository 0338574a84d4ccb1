"""Behind each platform's hops the backend is told the visitor's own address, scheme, host and port, whatever is forged.

The configurations are the shipped ones; changed are where they listen, and the networks that are trusted, since here
every peer is 127.0.0.1. That the shipped networks matter is shown by leaving them.
"""

import socket
import ssl
import struct

import pytest
import trustme
from stage import DEADLINE, DEPLOY, Echo, Proxy, free_port, replaced, until

VISITOR = "203.0.113.7"
FORGED = "198.51.100.66"
# What a visitor sends who would like to be somebody else.
LIES = {"X_Forwarded_Host": "evil.example", "X_Real_IP": FORGED, "Forwarded": f"for={FORGED}"}
TRUSTED = {
    "heroku": '["10.0.0.0/8"]',
    "fly": '["172.16.0.0/12", "fdaa::/16"]',
    "kubernetes": '["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"]',
    "aws/alb": '["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"]',
    "aws/nlb": '["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"]',
}
# What each platform's hops make of a forged header: they append.
ROUTERS = {
    "heroku": {"X_Forwarded_For": f"{FORGED}, {VISITOR}", "X_Forwarded_Port": "8443"},
    # The address of the app itself is the last.
    "fly": {"X_Forwarded_For": f"{FORGED}, {VISITOR}, 66.241.124.9", "X_Forwarded_Port": "81"},
    "kubernetes": {"X_Forwarded_For": f"{FORGED}, {VISITOR}", "X_Forwarded_Port": "81"},
    "aws/alb": {"X_Forwarded_For": f"{FORGED}, {VISITOR}", "X_Forwarded_Port": "8443"},
}


@pytest.fixture
def backend():
    echo = Echo("heroku")
    yield echo
    echo.stop()


@pytest.fixture
def start(backend, tmp_path):
    """Starts the shipped configuration of a platform, changed as told; ended with the test."""
    running = []

    def begin(platform, changes, env=None):
        text = (DEPLOY / platform / "crossfade.toml").read_text()
        loopback = {}
        for key, address, port in LISTENERS[platform]:
            loopback[f'{key} = "{address}:{port}"'] = f'{key} = "127.0.0.1:0"'
        if "[state]\n" in text:
            loopback['dir = "/var/lib/crossfade'] = f'dir = "{tmp_path}/state'
        (tmp_path / "state").mkdir(mode=0o700)
        config = tmp_path / "crossfade.toml"
        config.write_text(replaced(text, {**loopback, **changes}))
        running.append(Proxy(config, {"STABLE_URL": backend.url, **(env or {})}))
        return running[-1]

    yield begin
    for proxy in running:
        assert proxy.stop() == 0


LISTENERS = {
    "heroku": [],
    "fly": [("http", "0.0.0.0", 8080), ("metrics", "0.0.0.0", 9902), ("admin", "[::]", 9901)],
    "kubernetes": [("http", "0.0.0.0", 8080), ("metrics", "0.0.0.0", 9902)],
    "aws/alb": [("http", "0.0.0.0", 8080), ("metrics", "0.0.0.0", 9902), ("admin", "0.0.0.0", 9901)],
    "aws/nlb": [
        ("http", "0.0.0.0", 8080), ("https", "0.0.0.0", 8443), ("metrics", "0.0.0.0", 9902), ("admin", "0.0.0.0", 9901),
    ],
}  # fmt: skip


def environment(platform):
    return {"PORT": str(free_port())} if platform == "heroku" else {}


def believing(platform):
    return {TRUSTED[platform]: '["127.0.0.0/8"]'}


def visit(proxy, platform):
    return proxy.told(Host="www.example.com", X_Forwarded_Proto="https", **ROUTERS[platform], **LIES)


@pytest.mark.parametrize("platform", ROUTERS)
def test_the_hops_of_the_platform_are_believed_and_nobody_else(start, platform):
    env = environment(platform)
    told = visit(start(platform, believing(platform), env), platform)
    assert told["x-forwarded-for"] == told["x-real-ip"] == VISITOR
    assert told["x-forwarded-proto"] == "https"
    # Heroku's router and an ALB say the port themselves; elsewhere a visitor may have said it.
    port, host = ("8443", "www.example.com:8443") if platform in ("heroku", "aws/alb") else ("443", "www.example.com")
    assert (told["x-forwarded-port"], told["x-forwarded-host"]) == (port, host)
    assert "forwarded" not in told


@pytest.mark.parametrize("platform", ROUTERS)
def test_who_does_not_come_from_the_platform_is_not_believed(start, platform):
    told = visit(start(platform, {}, environment(platform)), platform)
    assert told["x-forwarded-for"] == told["x-real-ip"] == "127.0.0.1"
    assert told["x-forwarded-proto"] == "http"


@pytest.mark.parametrize("platform", ROUTERS)
def test_one_hop_more_than_there_are_would_believe_the_forger(start, platform):
    """What the counts are worth: with another number the same request is another visitor's."""
    hops = 2 if platform == "fly" else 1
    more = {f"x_for = {hops} ": f"x_for = {hops + 1} "}
    told = visit(start(platform, believing(platform) | more, environment(platform)), platform)
    assert told["x-forwarded-for"] == FORGED


def test_with_cloudfront_before_the_load_balancer_two_hops_are_believed(start):
    proxy = start("aws/alb", believing("aws/alb") | {"x_for = 1 ": "x_for = 2 "})
    chain = f"{FORGED}, {VISITOR}, 130.176.0.9"
    told = proxy.told(Host="www.example.com", X_Forwarded_Proto="https", X_Forwarded_For=chain, X_Forwarded_Port="443")
    assert told["x-forwarded-for"] == VISITOR


def test_a_dyno_listens_where_heroku_says(start):
    port = free_port()
    proxy = start("heroku", {'"0.0.0.0:': '"127.0.0.1:'}, {"PORT": str(port)})
    assert proxy.address == f"127.0.0.1:{port}"


# --- Network Load Balancer: PROXY protocol, version 2 -----------------------------------------------------------------

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
# AWS adds the id of the VPC endpoint and a checksum as TLVs: type, length, value.
TLV = b"\xea" + struct.pack(">H", 23) + b"\x01vpce-08d2bf15fac5001c9"


def proxy_header(source, port, tlv=TLV):
    addresses = socket.inet_aton(source) + socket.inet_aton("10.0.0.5") + struct.pack(">HH", port, 443)
    return SIGNATURE + b"\x21\x11" + struct.pack(">H", len(addresses) + len(tlv)) + addresses + tlv


# A health check's: LOCAL, about nobody.
LOCAL = SIGNATURE + b"\x20\x00\x00\x00"


@pytest.fixture
def behind_nlb(start, tmp_path):
    authority = trustme.CA()
    issued = authority.issue_cert("www.example.com")
    issued.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    issued.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    proxy = start("aws/nlb", believing("aws/nlb"), {"CROSSFADE_TLS": str(tmp_path)})
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return proxy, tls_address(proxy), context


def tls_address(proxy):
    lines = "\n".join(proxy.process.lines)
    return lines.split("listening on https://")[1].split()[0]


def dial(address, opening):
    host, port = address.rsplit(":", 1)
    connection = socket.create_connection((host, int(port)), timeout=DEADLINE)
    connection.sendall(opening)
    return connection


def ask(connection, *headers):
    lines = ["GET / HTTP/1.1", "Host: www.example.com", "Connection: close", *headers, "", ""]
    connection.sendall("\r\n".join(lines).encode())
    answer = b""
    while chunk := connection.recv(65536):
        answer += chunk
    return answer.decode()


def test_behind_a_network_load_balancer_the_visitor_is_who_the_proxy_header_says(behind_nlb):
    _, address, context = behind_nlb
    with context.wrap_socket(dial(address, proxy_header(VISITOR, 4711)), server_hostname="www.example.com") as tls:
        answer = ask(tls, f"X-Forwarded-For: {FORGED}", "X-Forwarded-Proto: http", "X-Forwarded-Port: 81")
    assert answer.startswith("HTTP/1.1 200")
    assert f'"x-forwarded-for": ["{VISITOR}"]' in answer and FORGED not in answer
    assert '"x-forwarded-proto": ["https"]' in answer and '"x-forwarded-port": ["443"]' in answer


def test_behind_a_network_load_balancer_port_80_sends_to_https(behind_nlb):
    proxy, _, _ = behind_nlb
    with dial(proxy.address, proxy_header(VISITOR, 4712)) as connection:
        answer = ask(connection)
    assert answer.startswith("HTTP/1.1 308") and "location: https://www.example.com" in answer.lower()


def test_a_health_check_of_the_network_load_balancer_is_no_trouble(behind_nlb):
    proxy, address, context = behind_nlb
    for where in (address, proxy.address):
        dial(where, LOCAL).close()
        dial(where, b"").close()
    with context.wrap_socket(dial(address, proxy_header(VISITOR, 4713)), server_hostname="www.example.com") as tls:
        assert ask(tls).startswith("HTTP/1.1 200")
    assert not [line for line in proxy.process.lines if "ERROR" in line]


def test_who_does_not_come_through_the_network_load_balancer_is_turned_away(start, tmp_path):
    issued = trustme.CA().issue_cert("www.example.com")
    issued.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    issued.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    # As shipped: 127.0.0.1 is not of the VPC.
    proxy = start("aws/nlb", {}, {"CROSSFADE_TLS": str(tmp_path)})
    with dial(proxy.address, proxy_header(VISITOR, 4714)) as connection:
        assert until("the connection is closed", lambda: refused(connection))


def refused(connection):
    try:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n")
        return connection.recv(100) == b""
    except (ConnectionResetError, BrokenPipeError):
        return True
