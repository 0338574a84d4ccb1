"""A backend that does what its path says: answers, fails, hangs up, takes its time or all the time, opens a WebSocket.

Started by stage.py, several at a time. It must never wait for anything but its own visitors.
"""

import base64
import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# RFC 6455 section 1.3.
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Backend:
    """Serves on a port of the system's choice until stopped; every fourth probe of a `frail` one fails."""

    def __init__(self, takes=0.0, frail=False):
        """`takes` is how many seconds an answer to .../slow takes."""
        over = threading.Event()
        probes = iter(range(1, 1 << 30))

        class App(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Head and body go together: apart, the second waits for an acknowledgement.
            wbufsize = -1

            def do_GET(self):
                what = self.path.rsplit("/", 1)[-1]
                if self.headers.get("Upgrade") == "websocket":
                    self.echo()
                elif what == "drop":
                    self.close_connection = True
                elif what == "slow":
                    over.wait(takes)
                    self.answer(200)
                elif what == "hold":
                    over.wait()
                elif what == "fail" or (what == "up" and frail and next(probes) % 4 == 0):
                    self.answer(500)
                else:
                    self.answer(200)

            def do_POST(self):
                self.rfile.read(int(self.headers.get("Content-Length", "0")))
                self.answer(200)

            def answer(self, status):
                body = b"x" * 512
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def echo(self):
                key = self.headers["Sec-WebSocket-Key"] + GUID
                self.send_response(101)
                self.send_header("Upgrade", "websocket")
                self.send_header("Connection", "Upgrade")
                self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
                self.end_headers()
                self.wfile.flush()
                while seen := self.rfile.read1(4096):
                    self.wfile.write(seen)
                    self.wfile.flush()
                self.close_connection = True

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                """Visitors of ours hang up as they like."""

        self._over = over
        self._server = Server(("127.0.0.1", 0), App)
        self.address = f"127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self):
        self._over.set()
        self._server.shutdown()
        self._server.server_close()
