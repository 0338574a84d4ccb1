"""Load on a proxy: wrk, h2load, handshakes, visitors by the clock, and single requests to look at.

Called by the scenarios. An answer that isn't 2xx, or has another length than the backend's, makes the leg Void; it must
never give a figure for a load that did not run clean, and never run without a bound.
"""

import http.client
import os
import re
import socket
import ssl
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
# What comes with a body: heads, and over TLS nothing, since wrk counts what it reads.
HEADS = 1500
DONE = """
done = function(summary, latency)
  local e = summary.errors
  io.write(string.format("RESULT %d %d %d %d %d %d %d %d %d %d %d\\n", summary.requests, summary.duration,
    summary.bytes, e.connect, e.read, e.write, e.status, e.timeout, latency:percentile(50), latency:percentile(90),
    latency:percentile(99)))
end
"""
# One suite and one curve for all, so that what is compared is the proxies and their libraries, not their taste.
OPENSSL = """
openssl_conf = start
[start]
ssl_conf = libssl
[libssl]
system_default = all
[all]
MinProtocol = TLSv1.3
MaxProtocol = TLSv1.3
Ciphersuites = TLS_AES_128_GCM_SHA256
Groups = X25519
"""


class Void(Exception):
    """Why a leg has no figure."""


@dataclass
class Load:
    """What was answered."""

    requests: int
    seconds: float
    failed: int = 0
    # In microseconds.
    p50: float | None = None
    p90: float | None = None
    p99: float | None = None

    @property
    def rate(self):
        return self.requests / self.seconds


class Loader:
    """The programs, and a folder for what they read."""

    def __init__(self, folder, backend):
        self._folder, self._backend = folder, backend
        config = folder / "openssl.cnf"
        config.write_text(OPENSSL)
        self.env = {**os.environ, "OPENSSL_CONF": str(config)}

    def _run(self, command, seconds):
        words = [str(word) for word in command]
        try:
            done = subprocess.run(
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=seconds + 30,
                env=self.env,
            )
        except FileNotFoundError:
            raise Void(f"{words[0]} is not installed: tests/run --install") from None
        except subprocess.TimeoutExpired:
            raise Void(f"{words[0]} did not end in time") from None
        if done.returncode != 0:
            raise Void(f"{words[0]} failed: {done.stdout.strip()[-200:]}")
        return done.stdout

    def wrk_command(self, url, seconds, connections=64, body=0):
        """wrk on one thread; it prints the line that `wrk_result` reads."""
        script = self._folder / f"wrk-{body}.lua"
        script.write_text((f'wrk.method, wrk.body = "POST", string.rep("x", {body})\n' if body else "") + DONE)
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", str(script), url]
        return command

    def wrk(self, url, seconds, length, connections=64, body=0):
        said = self._run(self.wrk_command(url, seconds, connections, body), seconds)
        result = wrk_result(said)
        load, size, errors = result
        if load.failed:
            raise Void("connect {}, read {}, write {}, status {}, timeout {}: errors of wrk".format(*errors))
        # What was half read when time was up is in the bytes, not in the answers.
        most = (load.requests + connections) * (length * 1.01 + HEADS)
        if not load.requests or not load.requests * length <= size <= most:
            raise Void(f"{load.requests} answers in {size} bytes, {length} each were due")
        return load

    def h2load(self, url, seconds, length):
        """HTTP/2 over TLS: 16 connections of 32 streams."""
        said = self._run(["h2load", "-t1", "-c16", "-m32", "-D", seconds, url], seconds)
        counts = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", said)
        good, data = re.search(r"(\d+) 2xx", said), re.search(r"\((\d+)\) data", said)
        if not counts or "Application protocol: h2" not in said:
            raise Void(f"h2load: {said.strip()[-200:]}")
        done = int(counts.group(1))
        if not done or any(int(number) for number in counts.groups()[1:]) or int(good.group(1)) < done:
            raise Void(f"h2load: {counts.group(0)}, {good.group(0)}")
        if abs(int(data.group(1)) - done * length) > done * length * 0.01 + 16 * 32 * length:
            raise Void(f"h2load: {data.group(1)} bytes in {done} answers, {length} each were due")
        mean = re.search(r"time for request:\s+\S+\s+\S+\s+([\d.]+)(us|ms|s)", said)
        unit = {"us": 1, "ms": 1000, "s": 1_000_000}
        return Load(done, seconds, p50=float(mean.group(1)) * unit[mean.group(2)] if mean else None)

    def handshakes(self, port, seconds):
        """Connections one after the other from four visitors, each with a full handshake and one GET."""
        script = HERE / "handshakes.py"
        visitors = [
            subprocess.Popen(
                [sys.executable, str(script), str(port), str(seconds), f"127.0.2.{number + 1}"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                text=True,
                env=self.env,
            )
            for number in range(4)
        ]
        done, times = 0, []
        for visitor in visitors:
            try:
                count, failed, reused, *each = visitor.communicate(timeout=seconds + 30)[0].split()
            except (ValueError, subprocess.TimeoutExpired):
                visitor.kill()
                raise Void("a visitor with handshakes did not come to its end") from None
            if int(failed) or int(reused) or not int(count):
                raise Void(f"of {count} handshakes {failed} failed and {reused} were resumed")
            done += int(count)
            times += [float(time) for time in each]
        times.sort()
        return Load(done, seconds, p50=share(times, 50), p99=share(times, 99))

    def open_loop(self, port, rate, seconds):
        said = self._run([self._backend, "visit", port, rate, seconds, 64], seconds)
        done, failed, *times = (int(word) for word in said.split())
        if failed or not done:
            raise Void(f"{failed} of {done + failed} requests failed")
        times = sorted(time / 1000 for time in times)
        return Load(done, seconds, 0, share(times, 50), share(times, 90), share(times, 99))


def wrk_result(said):
    """A load, the bytes that were read, and the errors by their kind."""
    found = re.search(r"^RESULT (.*)$", said, re.M)
    if not found:
        raise Void(f"wrk: {said.strip()[-200:]}")
    requests, duration, size, *errors, p50, p90, p99 = (int(word) for word in found.group(1).split())
    return Load(requests, duration / 1e6, sum(errors), p50, p90, p99), size, errors


def share(ordered, percent):
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] if ordered else None


def insecure():
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def fetch(port, path, tls=False, timeout=5):
    """One request on a connection of its own: status and body."""
    if tls:
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=timeout, context=insecure())
    else:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", path, headers={"Host": "www.example.com", "Connection": "close"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def answers(port, path, tls=False):
    """Whether it answers as it should: the last thing to become true of a proxy that starts."""
    try:
        return fetch(port, path, tls, timeout=2) == (200, b"ok\n")
    except (OSError, http.client.HTTPException):
        return False


class Visitor:
    """A keep-alive connection that says which backend answered. A connection that ends is opened again."""

    def __init__(self, port):
        self._port, self._stream = port, None

    def side(self):
        for _ in range(200):
            try:
                return self._ask()
            except OSError:
                self.close()
                time.sleep(0.001)
        raise Void("nobody answers any more")

    def _ask(self):
        if not self._stream:
            self._stream = socket.create_connection(("127.0.0.1", self._port), timeout=5)
            self._stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._stream.sendall(b"GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n")
        answer = b""
        while not answer.endswith(b"\r\n\r\nok\n"):
            more = self._stream.recv(4096)
            if not more:
                raise OSError("it hung up")
            answer += more
        head = answer.lower()
        if b"connection: close" in head:
            self.close()
        return re.search(rb"x-side: (\w+)", head).group(1).decode()

    def close(self):
        if self._stream:
            self._stream.close()
        self._stream = None
