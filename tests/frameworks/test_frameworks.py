"""What real frameworks make of Crossfade, each as two backends over TLS, through both of them.

The visitor is at https://www.example.com; Crossfade itself listens on plain HTTP behind one believed hop; the
backends know only their own loopback addresses. Whatever absolute address an app builds, it must be the public one.
"""

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from visitor import PUBLIC

OUR_OWN = ("localhost", "127.0.0.1")


def headers_of(seen):
    """The headers that an app saw, by lower-case name, every value of each."""
    headers = {}
    for name, value in seen["headers"]:
        headers.setdefault(name.lower(), []).append(value)
    return headers


def is_secure(set_cookie):
    return any(part.strip().lower() == "secure" for part in set_cookie.split(";")[1:])


def test_absolute_addresses_are_the_public_ones(stage, backend):
    seen = stage.visitor(backend).get("/whoami?a=b%2Fc&d=").json
    assert seen["root"] == f"{PUBLIC}/"
    assert seen["here"].split("?")[0] == f"{PUBLIC}/whoami"
    assert seen["scheme"] == "https"
    assert seen["host"] in ("www.example.com", "www.example.com:443")
    assert seen["remote_addr"] == "203.0.113.7"


def test_each_forwarded_header_arrives_once_with_one_value(stage, backend):
    headers = headers_of(stage.visitor(backend).get("/whoami").json)
    expected = {
        "x-forwarded-for": "203.0.113.7",
        "x-forwarded-proto": "https",
        "x-forwarded-host": "www.example.com",
        "x-forwarded-port": "443",
        "x-real-ip": "203.0.113.7",
    }
    assert {name: headers.get(name) for name in expected} == {name: [value] for name, value in expected.items()}
    assert len(headers["host"]) == 1
    assert headers["host"][0].split(":")[0] == {"stable": "localhost", "candidate": "127.0.0.1"}[backend]
    assert re.fullmatch(r"t=\d{13}", headers["x-request-start"][0])
    assert len(headers["x-request-id"]) == len(headers["via"]) == 1
    assert "forwarded" not in headers


def test_a_public_http_address_stays_http_where_the_app_lets_it(stage, backend):
    visitor = stage.visitor(backend)
    visitor.hop = {**visitor.hop, "X-Forwarded-Proto": "http", "X-Forwarded-Port": "80"}
    answer = visitor.get("/whoami")
    if stage.name == "django":
        # SECURE_SSL_REDIRECT: it was told http, so it sends the visitor to https, once.
        assert (answer.status, answer.location) == (301, f"{PUBLIC}/whoami")
    else:
        assert answer.json["root"] == "http://www.example.com/"


def test_a_redirect_by_the_framework_leads_to_the_public_address(stage, backend):
    visitor = stage.visitor(backend)
    answer = visitor.get("/absolute")
    assert (answer.status, answer.header("Location")) == (302, f"{PUBLIC}/landed")
    assert visitor.follow(answer).body == "landed"


def test_a_redirect_to_the_backends_own_address_is_brought_back(stage, backend):
    visitor = stage.visitor(backend)
    answer = visitor.get("/own-address")
    assert (answer.status, answer.header("Location")) == (302, f"{PUBLIC}/landed")
    cookie = answer.cookie("legacy")
    assert cookie and not any(f"domain={own}" in cookie.lower().replace(" ", "") for own in OUR_OWN), cookie
    assert visitor.cookies["legacy"] == "1", "a browser at the public host would have refused it"
    assert visitor.follow(answer).body == "landed"


def test_a_login_is_over_after_three_redirects(stage, backend):
    visitor = stage.visitor(backend)
    if stage.name == "flask":
        final, session = log_in_by_oauth(stage, visitor)
    else:
        final, session = log_in_by_form(visitor)
    assert (final.status, final.json) == (200, {"account": "open"})
    assert is_secure(session) and "httponly" in session.lower()
    assert visitor.get("/account").json == {"account": "open"}, "the session lasts"


def log_in_by_oauth(stage, visitor):
    """Flask-Dance's way: to the provider and back to us; the provider's page is played here."""
    leaving = visitor.follow(visitor.get("/account"))
    away = urlsplit(leaving.location)
    asked = {name: values[0] for name, values in parse_qs(away.query).items()}
    assert f"{away.scheme}://{away.netloc}{away.path}" == f"{stage.provider.url}/authorize"
    assert asked["redirect_uri"] == f"{PUBLIC}/login/made_up/authorized"
    callback = visitor.get(f"{asked['redirect_uri']}?code=made-up&state={asked['state']}")
    assert (callback.status, callback.location) == (302, f"{PUBLIC}/account"), callback
    assert stage.provider.asked[-1]["redirect_uri"] == asked["redirect_uri"], "the app asks for the token with it too"
    return visitor.follow(callback), callback.cookie("session")


def log_in_by_form(visitor):
    """Django's and Express's way: a page with a form, a POST of it from our own Origin."""
    page = visitor.follow(visitor.get("/account"))
    assert (page.status, page.url) == (200, f"{PUBLIC}/login")
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.body)
    form = {"visitor": "ada", **({"csrfmiddlewaretoken": token.group(1)} if token else {})}
    posted = visitor.post("/login", form)
    assert (posted.status, posted.location) == (302, f"{PUBLIC}/account"), posted
    return visitor.follow(posted), posted.cookie("sessionid") or posted.cookie("connect.sid")


@pytest.mark.parametrize("stage", ["django"], indirect=True)
def test_djangos_csrf_check_takes_our_own_origin_and_no_other(stage, backend):
    visitor = stage.visitor(backend)
    page = visitor.get("/login")
    assert is_secure(page.cookie("csrftoken"))
    form = {"visitor": "ada", "csrfmiddlewaretoken": re.search(r'value="(\w+)"', page.body).group(1)}
    assert visitor.post("/login", form).status == 302
    for foreign in ("http://www.example.com", "https://localhost", "https://evil.example"):
        assert visitor.post("/login", form, Origin=foreign).status == 403, foreign


SPOOFED = {
    "Host": "www.example.com",
    "X-Forwarded-For": "198.51.100.66",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Port": "6666",
    "X-Forwarded-Prefix": "/evil",
    "Forwarded": "for=198.51.100.66;host=evil.example;proto=https",
    "X-Real-IP": "198.51.100.66",
    "Client-IP": "198.51.100.66",
    "True-Client-IP": "198.51.100.66",
    "Fly-Client-IP": "198.51.100.66",
    "X-Forwarded-Ssl": "on",
    "X-Scheme": "https",
    "X_Forwarded_Host": "evil.example",
    "X_Forwarded_Proto": "https",
    "Connection": "close, X-Forwarded-Host, X-Forwarded-Proto",
}


def test_a_visitors_own_forwarded_headers_are_not_believed(stage, backend):
    answer = stage.stranger(backend, SPOOFED).get("/whoami")
    if stage.name == "django":
        # Not believed to have come by https, it is sent there, at the public host and not at the visitor's.
        assert (answer.status, answer.location) == (301, f"{PUBLIC}/whoami")
        return
    seen = answer.json
    assert seen["root"] == "http://www.example.com/"
    assert seen["remote_addr"] == "127.0.0.1"
    headers = headers_of(seen)
    assert headers["x-forwarded-proto"] == ["http"]
    assert headers["x-forwarded-host"] == ["www.example.com"]
    assert headers["x-forwarded-port"] == ["80"]
    for name, values in headers.items():
        for lie in ("evil", "198.51.100.66", "6666"):
            assert not any(lie in value for value in values), f"{name}: {values}"
    assert not {"x-forwarded-ssl", "x-scheme", "x_forwarded_proto"} & set(headers)
