"""What the dashboard is tested against: the mock, or the built program with two backends of a dozen lines.

Used by conftest.py. Both are told apart by CROSSFADE_DASHBOARD: `mock` or `program`.
"""

import json
import os
import signal
import sys
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from mock import TOKEN, Mock

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "frameworks"))
from processes import Process, binary  # noqa: E402


def chosen():
    return os.environ.get("CROSSFADE_DASHBOARD", "mock")


class Server:
    """An admin listener with its token, that can be stopped and started again at the same address."""

    base_url = token = None

    def api(self, method, path, body=None):
        """Somebody else's hand on the same proxy; a refusal is an error."""
        data = json.dumps(body).encode() if body is not None else None
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.base_url}/api/v1/{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def shift(self, backend, percent, **more):
        return self.api("POST", "commands", {"command": "shift", "backend": backend, "percent": percent, **more})


class Mocked(Server):
    def __init__(self, scene):
        self.mock = Mock(scene)
        self.base_url, self.token = self.mock.base_url, self.mock.token

    def stop(self):
        self.mock.stop()

    def start_again(self):
        self.mock.start_again()

    def freeze(self):
        self.mock.awake.clear()

    def thaw(self):
        self.mock.awake.set()


class Program(Server):
    """crossfade itself, on ports that were free a moment ago: a restart must come back at the same address."""

    def __init__(self, folder):
        self.folder, self.token = folder, TOKEN
        self.backends = [self.backend(name) for name in ("heroku", "fly")]
        port = free_port()
        self.base_url = f"http://127.0.0.1:{port}"
        self.config = folder / "crossfade.toml"
        self.config.write_text(configuration(port, self.backends, folder / "state"))
        self.start_again()
        self.proxy = f"http://{self.process.address}"
        self.visiting = threading.Event()
        threading.Thread(target=self.visit, daemon=True).start()

    def backend(self, name):
        class App(BaseHTTPRequestHandler):
            def do_GET(self):
                body = name.encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), App)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server

    def visit(self):
        """A few requests a second, so that there is something to see."""
        while not self.visiting.wait(0.1):
            try:
                with urllib.request.urlopen(f"http://{self.process.address}/", timeout=2) as answer:
                    answer.read()
            except OSError:
                continue

    def start_again(self):
        command = [str(binary()), "run", "--config", str(self.config)]
        # The line of the visitors' listener, which says nothing in brackets behind the address.
        ready = r"listening on http://([^\s\"]+:\d+)(?!\d)(?! \()"
        self.process = Process("crossfade", command, ready, {"CROSSFADE_ADMIN_TOKEN": self.token})

    def stop(self):
        self.process.stop()

    def freeze(self):
        os.kill(self.process._child.pid, signal.SIGSTOP)

    def thaw(self):
        os.kill(self.process._child.pid, signal.SIGCONT)

    def close(self):
        self.visiting.set()
        for backend in self.backends:
            backend.shutdown()
            backend.server_close()


def configuration(port, backends, state):
    urls = [f"http://127.0.0.1:{backend.server_port}" for backend in backends]
    return f"""
[server]
http = "127.0.0.1:0"
admin = "127.0.0.1:{port}"

[state]
dir = "{state}"

[backends.heroku]
url = "{urls[0]}"

[backends.fly]
url = "{urls[1]}"

[[routes]]
name = "web"
path = "/"
stable = "heroku"
weights = {{ heroku = 95, fly = 5 }}
"""


def free_port():
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        return server.server_port
