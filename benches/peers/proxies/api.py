"""A connection to the admin API that some proxies have on a unix socket.

Called by the changers of these. It must never take a refusal for an answer.
"""

import http.client
import socket

from proxies import Changer


class UnixConnection(http.client.HTTPConnection):
    """One that is opened again where the last answer was its end, as Caddy's is."""

    def __init__(self, path):
        super().__init__("localhost", timeout=5)
        self._path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(5)
        self.sock.connect(self._path)


class Api(Changer):
    """HTTP on a unix socket, one request at a time."""

    def __init__(self, path):
        self._connection = UnixConnection(path)
        self._connection.connect()

    def send(self, method, path, body=""):
        try:
            self._connection.request(method, path, body, {"Content-Type": "application/json"})
        except OSError:
            # It had ended without a word.
            self._connection.close()
            self._connection.request(method, path, body, {"Content-Type": "application/json"})

    def settle(self):
        try:
            answer = self._connection.getresponse()
            text = answer.read()
        except http.client.HTTPException as error:
            raise OSError(f"the admin API broke off: {error}") from None
        if answer.status != 200:
            raise OSError(f"the admin API answered {answer.status}: {text[:200]!r}")

    def close(self):
        self._connection.close()
