"""What the tests of deploy/ play on: shipped configurations on free ports, a backend that echoes, the proxy over them.

Used by every test_*.py here. A shipped file is used as it is but for the places that a test names; a place that isn't
there is an error, so that the tests can't drift from what is shipped.
"""

import http.client
import json
import os
import re
import socket
import socketserver
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from processes import LISTENING, Process, binary

ROOT = Path(__file__).resolve().parent.parent.parent
DEPLOY = ROOT / "deploy"
CONFIGURATIONS = sorted(DEPLOY.rglob("crossfade.toml"))
METRICS = re.compile(r"listening on http://(\S+:\d+) \(metrics\)")
DEADLINE = 30
# What makes a namespace, mounts a root or gives a file to somebody else.
AS_ROOT = [] if os.geteuid() == 0 else ["sudo", "-n"]


def name_of(path):
    return str(path.relative_to(ROOT))


def until(what, condition, deadline=DEADLINE):
    """The first truth that `condition` answers; an error that says what was waited for."""
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"not within {deadline} s: {what}")


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def replaced(text, changes):
    """`text` with each key of `changes` in it replaced by its value; each has to be there."""
    for old, new in changes.items():
        assert old in text, f"the shipped file no longer says {old!r}"
        text = text.replace(old, new)
    return text


class UnixServer(ThreadingHTTPServer):
    address_family = socket.AF_UNIX

    def server_bind(self):
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "localhost", 0
        os.chmod(self.server_address, 0o777)

    def get_request(self):
        connection, _ = super().get_request()
        return connection, ("127.0.0.1", 0)


class Echo:
    """A backend that answers with its name and the headers that it was told, each as often as it came."""

    def __init__(self, name, path=None):
        """At a free port, or at a unix socket."""

        class App(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                headers = {}
                for key, value in self.headers.items():
                    headers.setdefault(key.lower(), []).append(value)
                body = json.dumps({"name": name, "headers": headers}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self._server = UnixServer(str(path), App) if path else ThreadingHTTPServer(("127.0.0.1", 0), App)
        self._server.daemon_threads = True
        self.url = f"unix:{path}" if path else f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()


class Proxy:
    """The program on a configuration file, with the environment that its platform would give it."""

    def __init__(self, config, env=None):
        # Not on a standard input that somebody has; the address is that of the first plain listener.
        self.process = Process("crossfade", [str(binary()), "run", "--config", str(config)], LISTENING, env)
        self.address = self.process.address
        self.metrics = None
        if 'metrics = ' in Path(config).read_text():
            found = until("a metrics listener", lambda: METRICS.search("\n".join(self.process.lines)))
            self.metrics = found.group(1)

    def stop(self):
        return self.process.stop()

    def get(self, path="/", **headers):
        return get(self.address, path, **headers)

    def told(self, **headers):
        """What the backend was told: one value of each header."""
        status, body = self.get("/", **headers)
        assert status == 200, body
        told = json.loads(body)["headers"]
        return {name: values[0] if len(values) == 1 else values for name, values in told.items()}

    def metric(self, name):
        _, body = get(self.metrics, "/metrics")
        for line in body.decode().splitlines():
            if line.startswith(f"{name} "):
                return float(line.split()[1])
        raise AssertionError(f"no metric {name}")


def get(address, path, **headers):
    host, port = address.rsplit(":", 1)
    connection = http.client.HTTPConnection(host, int(port), timeout=DEADLINE)
    try:
        connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
