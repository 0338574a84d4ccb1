"""The stage: three backends, Crossfade in front, Prometheus that scrapes it, and whatever makes a count move.

Used by conftest.py. What it plays is over when it is told to Prometheus; all of it stays on loopback, at some hundred
requests a second.
"""

import http.client
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import trustme
from backend import Backend
from monitor import Prometheus, wait_until
from processes import DEADLINE, binary, crossfade

RAMP = (10, 50, 90)
# Requests of a step of the ramp, over so many connections.
STEP = 600
CONNECTIONS = 4
SIDES = ("heroku", "fly")

CONFIG = """
[server]
http = "127.0.0.1:0"
https = "127.0.0.1:0"
metrics = "127.0.0.1:0"
drain_timeout = "2s"

[tls]
certificates = [{{ cert = "{folder}/cert.pem", key = "{folder}/key.pem" }}]

[state]
dir = "{folder}/state"

[access_log]
target = "{folder}/access.log"

[backends.heroku]
url = "http://{heroku}"

[backends.fly]
urls = ["http://{fly}", "http://{fly_too}"]

[backends.fly.health]
path = "/up"
interval = "200ms"
eject_after = 1
eject_for = "50ms"

[backends.small]
url = "http://{small}"
max_in_flight = 1
max_queue = 1
queue_timeout = "250ms"

[[routes]]
name = "web"
stable = "heroku"
weights = {{ heroku = 100, fly = 0 }}

[[routes]]
name = "api"
path = "/api"
hosts = ["www.example.com"]
stable = "heroku"
weights = {{ heroku = 50, fly = 50 }}
pin = {{ header = "X-Crossfade-Backend" }}

[[routes]]
name = "small"
path = "/small"
stable = "small"
"""


@dataclass
class Step:
    """One step of the ramp: what was asked for, and the scrapes before its first and after its last request."""

    percent: int
    before: float
    after: float


class Stage:
    """Everything that runs, until stopped."""

    def __init__(self, folder):
        self.folder = folder
        self._ends = []
        self._over = threading.Event()
        self.steps = []
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self):
        issued = trustme.CA().issue_cert("www.example.com", not_after=datetime.now(UTC) + timedelta(days=45))
        issued.private_key_pem.write_to_path(str(self.folder / "key.pem"))
        issued.cert_chain_pems[0].write_to_path(str(self.folder / "cert.pem"))
        backends = {
            "heroku": Backend(0.02),
            "fly": Backend(0.04, frail=True),
            "fly_too": Backend(0.04, frail=True),
            "small": Backend(0.3),
        }
        self._ends += [backend.stop for backend in backends.values()]
        addresses = {name: backend.address for name, backend in backends.items()}
        self._text = CONFIG.format(folder=self.folder, **addresses)
        self.configure(self._text)
        self._proxy = crossfade(self.folder / "crossfade.toml")
        self._ends.append(self._proxy.stop)
        self.address = self._proxy.address
        self._tls = wait_until("the listener of TLS", lambda: self._listener(r"https://(\S+)"))
        self.metrics = wait_until("the listener of metrics", lambda: self._listener(r"http://(\S+) \(metrics\)"))
        self.prometheus = Prometheus(self.folder, self.metrics)
        self._ends.append(self.prometheus.stop)

    def _listener(self, pattern):
        return next((found[1] for line in self._proxy.lines if (found := re.search(pattern, line))), None)

    def stop(self):
        self._over.set()
        for end in reversed(self._ends):
            end()

    def configure(self, text):
        new = self.folder / "new.toml"
        new.write_text(text)
        new.rename(self.folder / "crossfade.toml")

    def command(self, *words):
        """One of the command line; answers with what it prints where that is JSON."""
        whole = [str(binary()), *words, "--config", str(self.folder / "crossfade.toml"), "--json"]
        done = subprocess.run(whole, capture_output=True, text=True, timeout=DEADLINE, check=False)
        return done.returncode, json.loads(done.stdout or "null")

    def exposition(self):
        """What a scrape reads now."""
        connection = http.client.HTTPConnection(self.metrics, timeout=DEADLINE)
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()

    # --- The play ----------------------------------------------------------------------------------------------------

    def play(self):
        """Traffic, failures, a ramp, reloads, modes and an upgrade; answers with the span of time that it took."""
        began = self.prometheus.scraped_after(0)
        sockets = [self._websocket(side) for side in SIDES]
        with ThreadPoolExecutor() as threads:
            held = [threads.submit(self._ask, "/api/hold", side=side) for side in SIDES]
            noise = threads.submit(self._noise)
            try:
                self.steps = [self._step(percent) for percent in RAMP]
                self._change()
                # Ends what is held, and the sockets.
                self._upgrade()
                ended = self.prometheus.scraped_after(time.time() + 1)
            finally:
                self._over.set()
                for each in sockets:
                    each.close()
            for each in (noise, *held):
                each.result(timeout=DEADLINE)
        return began, ended

    def _step(self, percent):
        """Only this route is shifted, and only these requests are its own."""
        assert self.command("shift", "fly", f"{percent}%", "--route", "web")[0] == 0
        before = self.prometheus.scraped_after(time.time())
        connections = [http.client.HTTPConnection(self.address, timeout=DEADLINE) for _ in range(CONNECTIONS)]
        for number in range(STEP):
            connection = connections[number % CONNECTIONS]
            connection.request("GET", "/")
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
            answer.read()
        for connection in connections:
            connection.close()
        return Step(percent, before, self.prometheus.scraped_after(time.time()))

    def _change(self):
        """A reload, one that is refused, commands of each kind; each is scraped before the next."""
        for text, result, count in (("# new\n", "success", 1), ("[nothing]\n", "failure", 1), ("", "success", 2)):
            self.configure(self._text + text)
            reloads = f'crossfade_config_reloads_total{{result="{result}"}} >= {count}'
            wait_until(f"a reload: {result}", lambda: self.prometheus.at(time.time(), reloads))  # noqa: B023
        for words in (("mode", "maintenance", "--route", "small"), ("mode", "open", "--route", "small"), ("reload",)):
            assert self.command(*words)[0] == 0
            self.prometheus.scraped_after(time.time())
        assert self.command("shift", "nobody", "5%")[0] == 1

    def _upgrade(self):
        """Another process takes over; it isn't our child, so its end is ours to bring about."""
        code, told = self.command("upgrade")
        assert code == 0, told
        pid = int(re.search(r"process (\d+) serves now", told["notes"][0])[1])
        self._ends.append(lambda: end(pid))
        self.prometheus.scraped_after(time.time())

    # --- Traffic -----------------------------------------------------------------------------------------------------

    def _noise(self):
        """Until all is over: good requests and such as end in each kind of count, on routes that don't ramp."""
        connection = None
        while not self._over.is_set():
            with ThreadPoolExecutor() as crowd:
                for _ in range(4):
                    crowd.submit(self._ask, "/small/slow")
                for side in SIDES * 3:
                    for path in ("/api/", "/api/slow", "/api/", "/api/fail"):
                        connection = self._ask(path, connection, side=side)
                # Who isn't pinned is sent again, and fails over.
                for path in ("/api/", "/api/drop", "/api/drop", "/api/"):
                    connection = self._ask(path, connection)
                connection = self._ask("/api/", connection, "POST", b"x" * 2000)
                self._ask("/", host="not a host")
                self._ask("/api/", http.client.HTTPSConnection(self._tls, timeout=DEADLINE, context=unbelieving()))
                self._not_tls()

    def _ask(self, path, connection=None, method="GET", body=None, host="www.example.com", side=None):
        """One request and its answer, whatever it is; answers with a connection that may be used again."""
        connection = connection or http.client.HTTPConnection(self.address, timeout=DEADLINE)
        try:
            pin = {"X-Crossfade-Backend": side} if side else {}
            connection.request(method, path, body, {"Host": host, **pin})
            connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            connection.close()
        return connection

    def _not_tls(self):
        host, port = self._tls.rsplit(":", 1)
        try:
            with socket.create_connection((host, int(port)), timeout=DEADLINE) as plain:
                plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
                plain.recv(100)
        except OSError:
            pass

    def _websocket(self, side):
        host, port = self.address.rsplit(":", 1)
        opened = socket.create_connection((host, int(port)), timeout=DEADLINE)
        opened.sendall(
            b"GET /api/cable HTTP/1.1\r\nHost: www.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            b"X-Crossfade-Backend: " + side.encode() + b"\r\n\r\n"
        )
        assert opened.recv(12) == b"HTTP/1.1 101"
        return opened


def unbelieving():
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def end(pid):
    """Ends a process that we started, though not as its parent, and waits until it is gone."""
    try:
        os.kill(pid, signal.SIGTERM)
        wait_until(f"the end of {pid}", lambda: not is_alive(pid))
    except ProcessLookupError:
        pass


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
