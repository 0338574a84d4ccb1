"""The stage: an authority that nobody believes, backends of a dozen lines, and Crossfade with a state directory."""

import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import trustme
from authority import Authority, Ports
from front import Front
from window import Windowed


@dataclass
class Certificate:
    """Paths of PEM files: the authority that signs pebble's own certificate, its chain, its key."""

    ca: str
    cert: str
    key: str


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    paths = Certificate(str(folder / "ca.pem"), str(folder / "cert.pem"), str(folder / "key.pem"))
    authority.cert_pem.write_to_path(paths.ca)
    issued.private_key_pem.write_to_path(paths.key)
    for blob in issued.cert_chain_pems:
        blob.write_to_path(paths.cert, append=True)
    return paths


@pytest.fixture(scope="session")
def backend():
    """Answers everything with 404, as an app does that knows no proof."""

    class App(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_error(404)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), App)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def ports():
    return Ports.free()


@pytest.fixture
def authorities(tmp_path, certificate, ports):
    """Starts an authority each time it is called; there is one at a time."""
    running = []

    def start(**words):
        running.append(Authority(tmp_path, certificate, ports, **words))
        return running[-1]

    yield start
    for authority in running:
        authority.stop()


@pytest.fixture
def windowed(certificate, ports):
    relay = Windowed(certificate, ports.directory)
    yield relay
    relay.stop()


@pytest.fixture
def front(tmp_path, certificate, backend, ports):
    stage = Front(tmp_path, certificate, backend, ports)
    yield stage
    stage.stop()
