"""A connection to the admin API that some proxies have on a unix socket.

Called by the changers of these. It must never take a refusal for an answer.
"""

import http.client
import socket

from proxies import Changer


class Api(Changer):
    """HTTP on a unix socket, one request at a time."""

    def __init__(self, path):
        self._connection = http.client.HTTPConnection("localhost", timeout=5)
        self._connection.sock = socket.socket(socket.AF_UNIX)
        self._connection.sock.settimeout(5)
        self._connection.sock.connect(str(path))

    def send(self, method, path, body="", kind="application/json"):
        self._connection.request(method, path, body, {"Content-Type": kind})

    def settle(self):
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise OSError(f"the admin API answered {answer.status}: {text[:200]!r}")

    def close(self):
        self._connection.close()
