"""Starts the servers that the tests speak to, each on a port of the system's choice that it says itself.

Used by conftest.py. Never waits by time: a server is ready when it has printed its address, and lost when its output
ends or the deadline passes.
"""

import os
import queue
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

APPS = Path(__file__).resolve().parent.parent / "apps"
ROOT = APPS.parent.parent
# Generous, for a machine that compiles something else meanwhile; a healthy start takes a second.
DEADLINE = 60
# The proxy's own line for a listener of visitors, whatever the log's format; that of the metrics says so behind it.
LISTENING = r"listening on http://([^\s\"]+:\d+)(?!\d)(?! \(metrics\))"
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class Process:
    """A running server, its output so far, and the address found in it."""

    def __init__(self, name, command, ready, env=None, cwd=None):
        self.name = name
        self.lines = []
        self._found = queue.Queue()
        self._ready = re.compile(ready)
        self._child = subprocess.Popen(
            command,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.address = self._wait()

    def _read(self):
        for line in self._child.stdout:
            plain = COLOUR.sub("", line.rstrip("\n"))
            self.lines.append(plain)
            found = self._ready.search(plain)
            if found:
                self._found.put(found.group(1))
        self._found.put(None)

    def _wait(self):
        try:
            address = self._found.get(timeout=DEADLINE)
        except queue.Empty:
            address = None
        if address is None:
            self.stop()
            raise RuntimeError(f"{self.name} did not start; it said:\n" + "\n".join(self.lines))
        return address

    def stop(self):
        """Ends it and what it started, gently first; answers with its exit code."""
        if self._child.poll() is None:
            self._signal(signal.SIGTERM)
        try:
            return self._child.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            return self._child.wait()

    def _signal(self, which):
        try:
            os.killpg(self._child.pid, which)
        except ProcessLookupError:
            pass


def gunicorn(name, app, certificate, env):
    """A Python app over TLS by gunicorn, which is told to believe no header itself: that is the app's matter."""
    command = [
        sys.executable, "-m", "gunicorn", "--bind", "127.0.0.1:0", "--worker-class", "gthread", "--threads", "4",
        "--certfile", certificate.cert, "--keyfile", certificate.key, "--forwarded-allow-ips", "",
        "--graceful-timeout", "1", app,
    ]  # fmt: skip
    env = {"APP_NAME": name, "PYTHONDONTWRITEBYTECODE": "1", **env}
    return Process(f"{app} ({name})", command, r"Listening at: https://(\S+)", env, APPS)


def node(name, script, certificate, env):
    """A Node app over TLS by its own https module."""
    env = {"APP_NAME": name, "TLS_CERT": certificate.cert, "TLS_KEY": certificate.key, **env}
    return Process(f"{script} ({name})", ["node", script], r"listening at https://(\S+)", env, APPS)


def websocket_app(name, certificate=None):
    """The WebSockets app, over TLS where there is a certificate; its address is host and port."""
    env = {"APP_NAME": name, "PYTHONDONTWRITEBYTECODE": "1"}
    if certificate:
        env |= {"TLS_CERT": certificate.cert, "TLS_KEY": certificate.key}
    command = [sys.executable, "websocket_app.py"]
    return Process(f"websocket_app.py ({name})", command, r"listening at wss?://(\S+)", env, APPS)


def crossfade(config):
    """The proxy itself, on a configuration file; its address is that of its first plain listener."""
    command = [str(binary()), "run", "--config", str(config)]
    return Process("crossfade", command, LISTENING)


def binary():
    """CROSSFADE_BIN, else what cargo built last."""
    if os.environ.get("CROSSFADE_BIN"):
        return Path(os.environ["CROSSFADE_BIN"]).resolve()
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    built = [path for path in (target / "debug/crossfade", target / "release/crossfade") if path.exists()]
    if not built:
        raise RuntimeError("no crossfade to test: run `cargo build`, or set CROSSFADE_BIN")
    return max(built, key=lambda path: path.stat().st_mtime)
