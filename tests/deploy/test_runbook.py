"""The runbook, followed: its commands in their order on a running proxy, its edits of the file, its code in real apps.

A block that has commands of Crossfade alone is run as it is printed. What belongs to Heroku, Fly.io, a database or DNS
is not run, nor is the Ruby and the Elixir.
"""

import http.client
import json
import os
import re
import subprocess
import sys

import flask
import pytest
from pages import FENCE, RUNBOOK, blocks, section
from processes import APPS, Process, binary
from stage import DEADLINE, DEPLOY, Echo, Proxy, replaced, until
from werkzeug.test import EnvironBuilder, run_wsgi_app

TEXT = RUNBOOK.read_text()
PUBLIC = {"Host": "www.example.com", "X_Forwarded_Proto": "https"}
PINNED = PUBLIC | {"X_Crossfade_Backend": "fly"}


class Journey:
    """Crossfade as deploy/fly has it, in front of two backends, and somebody who follows the runbook."""

    def __init__(self, folder):
        self.folder = folder
        self.backends = [Echo("heroku"), Echo("fly")]
        self.urls = {"STABLE_URL": self.backends[0].url, "CANDIDATE_URL": self.backends[1].url}
        self.file = folder / "crossfade.toml"
        (folder / "state").mkdir(mode=0o700)
        changes = {
            '"0.0.0.0:8080"': '"127.0.0.1:0"', '"0.0.0.0:9902"': '"127.0.0.1:0"', '"[::]:9901"': '"127.0.0.1:0"',
            '["172.16.0.0/12", "fdaa::/16"]': '["127.0.0.0/8"]', "/var/lib/crossfade": str(folder / "state"),
        }  # fmt: skip
        self.file.write_text(replaced((DEPLOY / "fly/crossfade.toml").read_text(), changes))
        self.edit(next(blocks(section(TEXT, "2. Stand Crossfade up"), "toml")))
        (folder / "bin").mkdir()
        (folder / "bin/crossfade").symlink_to(binary())
        self.proxy = Proxy(self.file, self.urls)

    def close(self):
        code = self.proxy.stop()
        for backend in self.backends:
            backend.stop()
        return code

    def run(self, block):
        """A block of the page, in the folder of the file; what it printed."""
        env = {"PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}", "CROSSFADE_CONFIG": str(self.file), **self.urls}
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block], cwd=self.folder, env=env,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=DEADLINE,
        )  # fmt: skip
        assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"
        return done.stdout

    def edit(self, block):
        """Sections are added, lines take the place of those with the same keys; what has no weight any more goes."""
        text = self.file.read_text()
        if block.startswith("["):
            text += "\n" + block + "\n"
        else:
            for line in block.splitlines():
                key = line.split(" = ")[0]
                text, count = re.subn(rf"^{key} = .*$", line.replace("\\", r"\\"), text, flags=re.MULTILINE)
                assert count == 1, f"the file has {count} lines of {key}"
            if "weights" in block and "heroku" not in block:
                text = re.sub(r"^\[backends\.heroku[^\[]*", "", text, flags=re.MULTILINE)
        new = self.file.with_suffix(".new")
        new.write_text(text)
        new.rename(self.file)

    def route(self):
        return json.loads(self.run("crossfade status --json"))["routes"][0]

    def share(self, name):
        return {one["name"]: one["weight"] for one in self.route()["backends"]}.get(name)

    def answers(self, **headers):
        """Which backend answers this visitor; the status, where none does."""
        status, body = self.proxy.get("/", **headers)
        return json.loads(body)["name"] if status == 200 else status


@pytest.fixture
def journey(tmp_path):
    started = Journey(tmp_path)
    yield started
    assert started.close() == 0


def ours(text):
    """The blocks that have nothing but commands of Crossfade, each with its place."""
    for found in FENCE.finditer(text):
        lines = [line.strip() for line in found[2].splitlines()]
        if found[1] == "sh" and all(line.startswith("crossfade ") for line in lines):
            yield "\n".join(lines)


def block_with(words):
    (found,) = [block for block in ours(TEXT) if words in block]
    return found


def test_the_way_from_the_first_look_to_the_drain(journey):
    assert journey.answers(**PUBLIC) == "heroku" and journey.answers(**PINNED) == "fly"
    stages = {
        block_with("crossfade check\ncrossfade status"): lambda: journey.share("fly") == 0,
        block_with("shift fly 100%"): lambda: journey.answers(**PUBLIC) == "fly",
        block_with("export"): lambda: "fly = 100" in (journey.folder / "crossfade.new").read_text(),
        block_with("mode maintenance"): lambda: {journey.answers(**PUBLIC), journey.answers(**PINNED)} == {503},
        block_with("mode open"): lambda: journey.answers(**PUBLIC) == "fly",
        block_with("reload"): lambda: journey.route()["stable"] == "fly" and journey.share("heroku") == 0,
        block_with("drain"): lambda: True,
    }
    before = {block_with("reload"): "7. Fly becomes stable", block_with("drain"): "8. Heroku off"}
    order = [block for block in ours(TEXT[TEXT.index("## 2.") : TEXT.index("## AWS")])]
    assert order == list(stages), "the runbook has other blocks, or in another order"
    for block in order:
        if block in before:
            (edit,) = blocks(section(TEXT, before[block]), "toml")
            journey.edit(edit)
            journey.run("crossfade check && crossfade reload")
        journey.run(block)
        assert stages[block](), block
        if "reload" in block:
            journey.run("crossfade shift heroku 100%")
            assert journey.answers(**PUBLIC) == "heroku"
            journey.run("crossfade rollback")
            assert journey.answers(**PUBLIC) == "fly", "from then on a rollback goes to Fly"
    until("the drained proxy has ended", lambda: any('event="stopped"' in line for line in journey.proxy.process.lines))


def test_at_every_step_of_the_ramp_a_rollback_brings_everybody_back(journey):
    (now,) = [block for block in ours(TEXT[: TEXT.index("## The phases")])]
    for step in block_with("shift fly 100%").splitlines():
        journey.run(step)
        percent = int(re.search(r" (\d+)%", step)[1])
        assert journey.share("fly") == percent
        assert f"fly {percent} -> 0 %" in journey.run(now)
        assert journey.answers(**PUBLIC) == "heroku"
        journey.run("crossfade undo")
        assert journey.share("fly") == percent


def test_after_a_rollback_no_pin_works_until_the_next_shift(journey):
    journey.run("crossfade shift fly 5%")
    journey.run("crossfade rollback")
    assert journey.answers(**PINNED) == "heroku"
    journey.run("crossfade shift fly 0%")
    assert journey.answers(**PINNED) == "fly" and journey.answers(**PUBLIC) == "heroku"


# --- What each app is told --------------------------------------------------------------------------------------------

VISITOR, FORGED, CROSSFADE, OWN = "203.0.113.7", "198.51.100.66", "192.0.2.80", "66.241.124.9"
HOPS = {
    platform: (int(straight), int(behind))
    for platform, straight, behind in re.findall(r"^\| ([\w., ]+) \| (\d) \| (\d) \|", TEXT, re.MULTILINE)
}
# What an app gets: the platform appends the peer; Fly.io the app's own address as well. Crossfade hands on one address.
CHAINS = [
    (platform, hops, forged + VISITOR + through + (f", {OWN}" if "Fly" in platform else ""))
    for platform, both in HOPS.items()
    for hops, forged, through in ((both[0], f"{FORGED}, ", ""), (both[1], "", f", {CROSSFADE}"))
]


def test_the_table_of_hops_is_read():
    assert HOPS == {"Heroku": (1, 2), "Fly.io": (2, 3), "AWS, an ALB": (1, 2)} and len(CHAINS) == 6


def only(language):
    (block,) = [one for one in blocks(section(TEXT, "What each app is told"), language)]
    return block


def python_of(name):
    (block,) = [one for one in blocks(section(TEXT, "What each app is told"), "python") if name in one]
    return block


@pytest.mark.parametrize(("platform", "hops", "chain"), CHAINS)
def test_flask_sees_the_visitor_by_the_hops_of_the_table(platform, hops, chain, monkeypatch):
    monkeypatch.setenv("PROXY_HOPS", str(hops))
    app = flask.Flask("shown")
    app.add_url_rule("/", "seen", lambda: [flask.request.remote_addr, flask.url_for("seen", _external=True)])
    exec(compile(python_of("ProxyFix"), RUNBOOK, "exec"), {"app": app})
    headers = {
        "Host": "myapp.fly.dev", "X-Forwarded-For": chain, "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "www.example.com",
    }  # fmt: skip
    environ = EnvironBuilder(headers=headers, environ_base={"REMOTE_ADDR": "10.0.0.9"}).get_environ()
    body, _, _ = run_wsgi_app(app, environ)
    assert json.loads(b"".join(body)) == [VISITOR, "https://www.example.com/"]


def test_django_sees_the_public_scheme_and_host_and_no_other():
    script = """
import sys
from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.test import RequestFactory
namespace = {}
exec(sys.stdin.read(), namespace)
settings.configure(**{key: value for key, value in namespace.items() if key.isupper()})
told = {"HTTP_HOST": "myapp.fly.dev", "HTTP_X_FORWARDED_PROTO": "https"}
print(RequestFactory().get("/", HTTP_X_FORWARDED_HOST="www.example.com", **told).build_absolute_uri("/login"))
try:
    RequestFactory().get("/", HTTP_X_FORWARDED_HOST="evil.example", **told).get_host()
except DisallowedHost:
    print("refused")
"""
    done = subprocess.run(
        [sys.executable, "-c", script], input=python_of("ALLOWED_HOSTS"), capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split() == ["https://www.example.com/login", "refused"], done.stderr


@pytest.mark.parametrize(("platform", "hops", "chain"), CHAINS)
def test_express_sees_the_visitor_by_the_hops_of_the_table(platform, hops, chain):
    script = f"""
const app = require({json.dumps(str(APPS / "node_modules/express"))})()
{only("js")}
app.get('/', (request, answer) => answer.json([request.ip, request.protocol, request.hostname]))
const server = app.listen(0, '127.0.0.1', () => console.log('listening on 127.0.0.1:' + server.address().port))
"""
    server = Process("express", ["node", "-e", script], r"listening on (\S+)", {"PROXY_HOPS": str(hops)})
    try:
        told = {"X-Forwarded-For": chain, "X-Forwarded-Proto": "https", "X-Forwarded-Host": "www.example.com"}
        connection = http.client.HTTPConnection(server.address, timeout=DEADLINE)
        connection.request("GET", "/", headers=told)
        assert json.loads(connection.getresponse().read()) == [VISITOR, "https", "www.example.com"]
        connection.close()
    finally:
        server.stop()
