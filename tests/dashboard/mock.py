"""Crossfade's admin API without a proxy behind it: what the dashboard is made and tested against.

    python3 mock.py [--scene NAME] [--port N]     prints the address, serves until it is ended

Used by conftest.py. It must never know more than the API's types say; what a command means is as ARCHITECTURE.md
has it, in as few lines as will do.
"""

import argparse
import base64
import contextlib
import hashlib
import json
import re
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from scenes import ROUTES, STORIES, World, percent

PAGE = Path(__file__).resolve().parents[2] / "src/admin/dashboard/index.html"
TOKEN = "a-token-of-more-than-sixteen"
WRONG_AT_MOST = 5
WAIT = 2


class Refusal(Exception):
    def __init__(self, status, reason, error):
        super().__init__(error)
        self.status, self.reason = status, reason


def content_security(page):
    """As the proxy says it: one script and one style, by their hashes."""

    def hashes(tag):
        found = re.findall(rf"<{tag}[^>]*>(.*?)</{tag}>", page, re.DOTALL)
        digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in found]
        return " ".join(f"'sha256-{digest}'" for digest in digests)

    return (
        f"default-src 'none'; script-src {hashes('script')}; style-src {hashes('style')}; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


class Steering:
    """Carries commands out, on the world."""

    def __init__(self, world):
        self.world = world

    def command(self, body, via="admin"):
        world = self.world
        if body.get("if_revision") not in (None, world.revision):
            shown = body["if_revision"]
            raise Refusal(409, "stale_revision", f"revision {world.revision} is live, not {shown}: nothing was changed")
        before = {route.name: route.state() for route in world.routes}
        undoes = None
        if body["command"] == "undo":
            undoes = self.undo(body)
        else:
            for route in self.fitting(body):
                self.apply(route, body)
        changes = [
            {"route": route.name, "from": before[route.name], "to": route.state()}
            for route in world.routes
            if route.state() != before[route.name]
        ]
        if body.get("dry_run"):
            for route in world.routes:
                route.become(before[route.name])
        elif changes:
            actor = body.get("actor") or "token"
            world.keep(0, actor, via, self.words(body), changes, body.get("reason"), undoes)
        notes = [] if not world.trouble else [f"a restart would forget this: {world.trouble}"]
        if body["command"] == "rollback":
            notes.append("heroku is up and answered 0.1 s ago")
        return {
            "revision": world.revision, "dry_run": bool(body.get("dry_run")), "changes": changes, "notes": notes,
            "kept": not world.trouble,
        }  # fmt: skip

    def words(self, body):
        if body["command"] == "shift":
            return f"shift {body['backend']} {percent(body['percent'])}"
        return f"mode {body['mode']}" if body["command"] == "mode" else body["command"]

    def fitting(self, body):
        if not body.get("route"):
            return self.world.routes
        route = self.world.route(body["route"])
        if not route:
            raise Refusal(422, "unknown_route", f"there is no route `{body['route']}`")
        return [route]

    def apply(self, route, body):
        if body["command"] == "rollback":
            route.rolled_back = True
        elif body["command"] == "mode":
            route.mode = body["mode"]
        elif body["command"] == "shift":
            self.shift(route, body["backend"], body["percent"])

    def shift(self, route, backend, to):
        if backend not in route.weights:
            raise Refusal(422, "unknown_backend", f"the route `{route.name}` has no backend `{backend}`")
        others = sum(w for name, w in route.weights.items() if name not in (backend, route.stable))
        if not 0 <= to <= 100 - others:
            raise Refusal(422, "invalid", f"{to:g} % don't fit: others of `{route.name}` have {others:g} %")
        route.weights |= {backend: float(to), route.stable: 100.0 - others - to}
        route.rolled_back = False

    def undo(self, body):
        """The last change by a command that isn't undone yet."""
        undone = {record.get("undoes") for record in self.world.history}
        for record in self.world.history:
            steered = record["via"] in ("admin", "socket") and "undoes" not in record
            mine = [change for change in record["changes"] if body.get("route") in (None, change["route"])]
            if steered and record["revision"] not in undone and mine:
                for change in mine:
                    self.world.route(change["route"]).become(change["from"])
                return record["revision"]
        raise Refusal(422, "invalid", "there is nothing to undo")


class Mock:
    """A running mock: address, token, and a world that may be replaced as by a restart."""

    def __init__(self, scene="quiet", port=0):
        self.world, self.token = World(scene), TOKEN
        self.changed = threading.Condition()
        self.wrong, self.blocked_until, self.epoch = 0, 0.0, 0
        # Whether there is no room for another stream, and how many there were.
        self.full, self.streams = False, 0
        self.awake = threading.Event()
        self.awake.set()
        mock = self

        class Handler(Admin):
            owner = mock

        self._server = Quiet(("127.0.0.1", port), Handler)
        self.base_url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def command(self, body):
        with self.changed:
            applied = Steering(self.world).command(body)
            self.changed.notify_all()
        return applied

    def end_streams(self):
        """As after some minutes: each reader comes back, and shows its token anew."""
        with self.changed:
            self.epoch += 1
            self.changed.notify_all()

    def bar(self, seconds):
        """As after too many wrong tokens: for so long no token is taken."""
        self.blocked_until = time.time() + seconds

    def stop(self):
        """Ends it: no stream goes on, nobody is answered."""
        with self.changed:
            self.epoch += 1
            self.changed.notify_all()
        self.awake.set()
        self._server.shutdown()
        self._server.server_close()
        self._server.hang_up()

    def start_again(self, scene=None):
        """As a restart of the process that kept its state; or, with a scene, one that kept nothing."""
        kept, port = self.world, self._server.server_port
        self.__init__(scene or "quiet", port)
        if not scene:
            kept.started = time.time()
            self.world = kept


class Quiet(ThreadingHTTPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, *arguments):
        self.open = set()
        super().__init__(*arguments)

    def process_request(self, request, client_address):
        self.open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        self.open.discard(request)
        super().shutdown_request(request)

    def hang_up(self):
        """Ends every connection, as the end of a process does."""
        for request in list(self.open):
            with contextlib.suppress(OSError):
                request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request, client_address):
        """A browser that leaves is no news."""


class Admin(BaseHTTPRequestHandler):
    owner = None
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        path = urlsplit(self.path).path
        if path == "/":
            page = PAGE.read_text()
            rules = {"Content-Security-Policy": content_security(page)}
            return self.answer(200, page, "text/html; charset=utf-8", rules)
        self.guarded(lambda: self.read(path))

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.guarded(lambda: self.tell(self.owner.command(json.loads(body))))

    def guarded(self, work):
        try:
            self.owner.awake.wait()
            self.check_token()
            work()
        except Refusal as refusal:
            more = {"Retry-After": str(WAIT)} if refusal.status == 429 else {}
            text = json.dumps({"error": str(refusal), "reason": refusal.reason})
            self.answer(refusal.status, text, "application/json", more)

    def check_token(self):
        mock = self.owner
        given = self.headers.get("Authorization")
        if time.time() < mock.blocked_until:
            raise Refusal(429, "rate_limited", f"too many wrong tokens: wait {WAIT} seconds")
        if given == f"Bearer {mock.token}":
            mock.wrong = 0
            return
        if given:
            mock.wrong += 1
            if mock.wrong >= WRONG_AT_MOST:
                mock.wrong, mock.blocked_until = 0, time.time() + WAIT
        raise Refusal(401, "unauthorized", "the token is wrong" if given else "a token is needed")

    def read(self, path):
        world = self.owner.world
        if path == "/api/v1/events":
            return self.stream()
        told = {
            "/api/v1/status": world.status,
            "/api/v1/series": world.series,
            "/api/v1/history": lambda: {"revisions": [world.told(record) for record in world.history]},
        }.get(path)
        if not told:
            raise Refusal(404, "not_found", f"there is nothing at {path}")
        self.tell(told())

    def stream(self):
        mock = self.owner
        if mock.full:
            raise Refusal(429, "rate_limited", "8 event streams are open already: close one")
        mock.streams += 1
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        epoch, sampled = mock.epoch, time.time() // 5
        after = int(self.headers.get("Last-Event-ID") or mock.world.revision)
        while epoch == mock.epoch:
            world = mock.world
            for record in [r for r in reversed(world.history) if r["revision"] > after]:
                self.event("revision", world.told(record), record["revision"])
                after = record["revision"]
            self.event("status", world.status())
            if time.time() // 5 > sampled:
                sampled = time.time() // 5
                self.event("sample", world.sample())
            with mock.changed:
                mock.changed.wait(timeout=1)
            mock.awake.wait()

    def event(self, name, data, number=None):
        head = f"id: {number}\n" if number else ""
        self.wfile.write(f"event: {name}\n{head}data: {json.dumps(data)}\n\n".encode())
        self.wfile.flush()

    def tell(self, value):
        self.answer(200, json.dumps(value), "application/json")

    def answer(self, status, text, kind, more=None):
        body = text.encode()
        self.send_response(status)
        headers = {"Content-Type": kind, "Content-Length": str(len(body)), "Cache-Control": "no-store", **(more or {})}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--scene", choices=sorted({*ROUTES, *STORIES}), default="quiet")
    arguments.add_argument("--port", type=int, default=0)
    chosen = arguments.parse_args()
    mock = Mock(chosen.scene, chosen.port)
    print(f"{mock.base_url}/#token={mock.token}", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
