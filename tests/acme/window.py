"""An authority that says when to renew (RFC 9773), which Debian's pebble doesn't: a relay in front of it that does.

Used by test_acme.py. Everything else passes as it is; pebble sees the relay's own address as its host.
"""

import base64
import http.client
import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PAST = {"suggestedWindow": {"start": "2020-01-01T00:00:00Z", "end": "2020-01-02T00:00:00Z"}}
FUTURE = {"suggestedWindow": {"start": "2100-01-01T00:00:00Z", "end": "2100-01-02T00:00:00Z"}}
PASSED_ON = ("Replay-Nonce", "Location", "Link", "Content-Type", "Retry-After")


def payload(jws):
    text = json.loads(jws)["payload"]
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)) or "{}")


class Windowed:
    """Wants the first certificate it is asked about renewed at once, and no other."""

    def __init__(self, certificate, port):
        """Relays to pebble on `port`."""
        asked = self.asked = []
        replaced = self.replaced = []

        class Relay(BaseHTTPRequestHandler):
            def do_GET(self):
                if self.path.startswith("/renewal-info/"):
                    name = self.path.removeprefix("/renewal-info/")
                    asked.append(name)
                    window = PAST if name == asked[0] else FUTURE
                    return self.answer(200, {"Retry-After": "3600"}, json.dumps(window).encode())
                return self.relay(None)

            do_HEAD = do_GET

            def do_POST(self):
                return self.relay(self.rfile.read(int(self.headers["Content-Length"])))

            def relay(self, body):
                pebble = http.client.HTTPSConnection("127.0.0.1", port, context=ssl._create_unverified_context())
                kept = {name: self.headers[name] for name in ("Host", "Content-Type", "User-Agent")
                        if self.headers[name]}  # fmt: skip
                pebble.request(self.command, self.path, body, kept)
                answer = pebble.getresponse()
                text = self.changed(answer, body, answer.read())
                self.answer(answer.status, {k: answer.headers[k] for k in PASSED_ON if answer.headers[k]}, text)
                pebble.close()

            def changed(self, answer, body, text):
                if self.path == "/dir":
                    own = f"https://{self.headers['Host']}/renewal-info"
                    return json.dumps({**json.loads(text), "renewalInfo": own}).encode()
                said = payload(body) if body and answer.status == 201 else {}
                if "replaces" in said:
                    replaced.append(said["replaces"])
                    return json.dumps({**json.loads(text), "replaces": said["replaces"]}).encode()
                return text

            def answer(self, status, headers, text):
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(text)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Relay)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.cert, certificate.key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.address = f"localhost:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()
