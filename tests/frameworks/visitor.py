"""A visitor of https://www.example.com, as the proxy in front of Crossfade would hand its requests on.

Used by the tests. It keeps cookies as a browser at the public https address would, and follows a redirect only to
that address: one that leads anywhere else is what these tests exist to catch.
"""

import http.client
import json
import re
from dataclasses import dataclass
from urllib.parse import urlencode, urljoin, urlsplit

PUBLIC = "https://www.example.com"
# What a believed hop in front of us says of the visitor. Host is that hop's own, so that nothing is right by chance.
HOP = {
    "Host": "crossfade.internal",
    "X-Forwarded-For": "203.0.113.7",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "www.example.com",
    "X-Forwarded-Port": "443",
}


@dataclass
class Answer:
    """A response, with the URL that it answers."""

    url: str
    status: int
    headers: list
    body: str

    def header(self, name):
        """The one value of a header, or None; a header twice is a failure."""
        values = self.all(name)
        assert len(values) <= 1, f"{name} came {len(values)} times: {values}"
        return values[0] if values else None

    def all(self, name):
        """Every value of a header."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def location(self):
        """Where a redirect leads, as a browser would resolve it."""
        return urljoin(self.url, self.header("Location") or "")

    def cookie(self, name):
        """The Set-Cookie line of this name, attributes and all, or None."""
        lines = [line for line in self.all("Set-Cookie") if line.startswith(f"{name}=")]
        return lines[0] if lines else None


class Visitor:
    """One browser, pinned to one backend."""

    def __init__(self, proxy, backend, hop=None):
        self.proxy = proxy
        self.backend = backend
        self.hop = HOP if hop is None else hop
        self.cookies = {}

    def send(self, method, path, form=None, headers=None):
        """One request and its answer, whichever backend says it is; that it was the pinned one is asserted."""
        url = urljoin(PUBLIC, path)
        assert url.startswith(f"{PUBLIC}/"), f"led away from {PUBLIC}: {url}"
        target = url[len(PUBLIC) :]
        connection = http.client.HTTPConnection(self.proxy, timeout=30)
        connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        body = urlencode(form).encode() if form is not None else b""
        for name, value in self._headers(body, headers or {}):
            connection.putheader(name, value)
        connection.endheaders(body or None)
        response = connection.getresponse()
        answer = Answer(url, response.status, response.getheaders(), response.read().decode())
        connection.close()
        self._keep_cookies(answer)
        assert answer.header("X-App") == self.backend, f"{self.backend} was asked for: {answer}"
        return answer

    def get(self, path, **more):
        return self.send("GET", path, **more)

    def post(self, path, form, **more):
        """A form sent from our own page, as browsers send it: with Origin and Referer."""
        own = {"Origin": PUBLIC, "Referer": urljoin(PUBLIC, path)}
        return self.send("POST", path, form=form, headers={**own, **more})

    def follow(self, answer, most=3):
        """Follows redirects to our own address until one leads elsewhere or an answer is final."""
        for _ in range(most):
            if answer.status not in (301, 302, 303, 307, 308) or urlsplit(answer.location).netloc != "www.example.com":
                return answer
            answer = self.get(answer.location)
        assert answer.status < 300 or answer.status >= 400, f"still redirected after {most} redirects: {answer}"
        return answer

    def _headers(self, body, more):
        yield from self.hop.items()
        yield "X-Crossfade-Backend", self.backend
        if self.cookies:
            yield "Cookie", "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        if body:
            yield "Content-Type", "application/x-www-form-urlencoded"
            yield "Content-Length", str(len(body))
        yield from more.items()

    def _keep_cookies(self, answer):
        for line in answer.all("Set-Cookie"):
            domain = re.search(r";\s*domain=\.?([^;]+)", line, re.IGNORECASE)
            if domain and domain.group(1).strip().lower() not in ("www.example.com", "example.com"):
                continue  # A browser refuses a cookie of a foreign domain.
            name, _, value = line.split(";")[0].partition("=")
            self.cookies[name] = value
