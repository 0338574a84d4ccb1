"""Crossfades, what is around them, and a real Prometheus that scrapes them by the rules that are shipped, quickened.

Used by conftest.py and causes.py. It must never wait by time alone: it looks until something is so, or a deadline
passes.
"""

import fcntl
import json
import os
import re
import socket
import subprocess
import time
import urllib.parse
import urllib.request

import shipped
import yaml
from players import App, Loop, Visitors
from processes import DEADLINE, Process, binary, crossfade

# Twice within the shortest window, and long enough for a busy machine to answer.
SCRAPES = "400ms"


def wait_until(what, condition, deadline=DEADLINE):
    """Looks again and again; answers with what was found."""
    since = time.monotonic()
    while not (found := condition()):
        assert time.monotonic() - since < deadline, f"waited in vain: {what}"
        time.sleep(0.05)
    return found


def free_port():
    """One that nobody listens on: a proxy that starts again has to be where it was."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def certificate(folder, name, days):
    """A certificate by openssl that ends after so many days, as the lines of [tls]; made anew, it replaces the one."""
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    parked = folder / "parked.pem"
    words = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(key)]
    if key.exists():
        words = ["-key", str(key)]
    subprocess.run(
        [
            "openssl", "req", "-x509", *words, "-out", str(parked), "-days", str(days), "-subj", f"/CN={name}",
            "-addext", f"subjectAltName=DNS:{name}",
        ],
        check=True, capture_output=True, timeout=DEADLINE,
    )  # fmt: skip
    parked.replace(cert)
    return f'{{ cert = "{cert}", key = "{key}" }}'


class Proxy:
    """A Crossfade with a state directory, by the sections of its configuration."""

    def __init__(self, folder, sections, log="off", metrics=0):
        self.folder = folder
        folder.mkdir()
        self.state = folder / "state"
        self.config = folder / "crossfade.toml"
        self.log = log
        self.metrics_port = metrics
        self.sections = sections
        self.write(sections)
        self.start()

    def write(self, sections, before=""):
        """Another configuration in the place of the one that is there."""
        https = 'https = "127.0.0.1:0"' if "[tls]" in sections else ""
        new = self.folder / "new.toml"
        new.write_text(
            f'{before}\n[server]\nhttp = "127.0.0.1:0"\nmetrics = "127.0.0.1:{self.metrics_port}"\n{https}\n'
            f'[state]\ndir = "{self.state}"\n[access_log]\ntarget = "{self.log}"\n{sections}'
        )
        new.replace(self.config)

    def start(self):
        self._process = crossfade(self.config)
        self.address = self._process.address
        said = lambda: re.search(r"http://(\S+) \(metrics\)", "\n".join(self._process.lines))  # noqa: E731
        self.metrics = wait_until("the address of the metrics", said)[1]

    def stop(self):
        self._process.stop()

    def started(self):
        return re.search(r"^process_start_time_seconds (\S+)$", self.scrape(), re.MULTILINE)[1]

    def say(self, *words):
        """A command of the command line's."""
        done = subprocess.run(
            [str(binary()), *words, "--state", str(self.state)],
            capture_output=True, text=True, timeout=DEADLINE, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    def scrape(self):
        with urllib.request.urlopen(f"http://{self.metrics}/metrics", timeout=DEADLINE) as answer:
            return answer.read().decode()


class Prometheus:
    """Debian's, with the files of deploy/prometheus in a folder of its own, quickened."""

    def __init__(self, folder):
        folder.mkdir()
        self._targets = folder / "targets.json"
        self.scrapes([])
        for name in shipped.RULES:
            (folder / name).write_text(shipped.quickened((shipped.FOLDER / name).read_text()))
        config = yaml.safe_load((shipped.FOLDER / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": SCRAPES, "scrape_timeout": SCRAPES, "evaluation_interval": "250ms"}
        (job,) = config["scrape_configs"]
        del job["static_configs"]
        job["file_sd_configs"] = [{"files": [str(self._targets)], "refresh_interval": "1s"}]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        self._process = Process(
            "prometheus",
            [
                "prometheus", "--config.file", str(folder / "prometheus.yml"), "--web.listen-address", "127.0.0.1:0",
                "--storage.tsdb.path", str(folder / "data"), "--query.lookback-delta", "5s",
            ],
            r'msg="Listening on" address=(\S+)',
            {"GOMAXPROCS": "1"},
        )  # fmt: skip

    def scrapes(self, targets):
        new = self._targets.with_suffix(".new")
        new.write_text(json.dumps([{"targets": targets}]))
        new.replace(self._targets)

    def stop(self):
        self._process.stop()

    def _ask(self, path):
        with urllib.request.urlopen(f"http://{self._process.address}/api/v1/{path}", timeout=DEADLINE) as answer:
            return json.load(answer)["data"]

    def query(self, expression):
        """The values, each with its labels."""
        result = self._ask("query?" + urllib.parse.urlencode({"query": expression}))["result"]
        return [(one["metric"], float(one["value"][1])) for one in result]

    def firing(self):
        """The labels of every alert that fires now."""
        return [alert["labels"] for alert in self._ask("alerts")["alerts"] if alert["state"] == "firing"]

    def unwell(self):
        """The rules that can't be evaluated, with what is wrong."""
        groups = self._ask("rules")["groups"]
        every = [rule for group in groups for rule in group["rules"]]
        return [(rule["name"], rule["lastError"]) for rule in every if rule.get("lastError")]


def backend(name, app, more="", health=False):
    asked = f'[backends.{name}.health]\npath = "/up"\ninterval = "100ms"\nrise = 1\nfall = 1\n' if health else ""
    return f'[backends.{name}]\nurl = "{app.url}"\n{more}\n{asked}'


def route(name, stable, weights):
    shares = ", ".join(f"{name} = {share}" for name, share in weights.items())
    return f'[[routes]]\nname = "{name}"\npath = "/{name}"\nstable = "{stable}"\nweights = {{ {shares} }}\n'


class Stage:
    """All of it: `main` with the routes of visitors, `twins` of one configuration, `mortal` that comes and goes."""

    def __init__(self, folder):
        self.folder = folder
        self._ends = []
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def _open(self):
        loop = self._keep(Loop())
        names = ("good", "failing", "uneasy", "sluggish", "leaving", "narrow", "asleep", "unseen")
        self.apps = {name: App(loop) for name in names}
        self.pipe = self._pipe()
        self.certificates = {days: certificate(self.folder, f"days-{days}", days) for days in (1, 5)}
        self.main = self._keep(Proxy(self.folder / "main", self._main(), log=str(self.folder / "access-log")))
        twin = backend("here", self.apps["good"]) + backend("there", self.apps["good"])
        twin += route("twin", "here", {"here": 90, "there": 10})
        self.twins = [self._keep(Proxy(self.folder / f"twin-{number}", twin)) for number in (1, 2)]
        alone = backend("alone", self.apps["good"]) + route("alone", "alone", {"alone": 1})
        self.mortal = self._keep(Proxy(self.folder / "mortal", alone, metrics=free_port()))
        self.prometheus = self._keep(Prometheus(self.folder / "prometheus"))
        rates = {"failing": 40, "uneasy": 30, "sluggish": 50, "leaving": 30, "narrow": 30, "asleep": 5, "unseen": 5}
        for name, per_second in rates.items():
            self._keep(Visitors(loop, self.main.address, f"/{name}", per_second))

    def _main(self):
        apps = self.apps
        return "".join([
            "[tls]\ncertificates = [" + ", ".join(self.certificates.values()) + "]\n",
            backend("good", apps["good"]),
            backend("failing", apps["failing"]),
            backend("sluggish", apps["sluggish"]),
            backend("leaving", apps["leaving"], health=True),
            backend("narrow", apps["narrow"], "max_in_flight = 1\nmax_queue = 0"),
            backend("uneasy", apps["uneasy"]),
            backend("asleep", apps["asleep"], health=True),
            backend("unseen", apps["unseen"]),
            *(route(name, "good", {"good": 50, name: 50}) for name in ("failing", "uneasy", "sluggish", "leaving")),
            # Stable has nothing to do here.
            *(route(name, name, {"good": 100, name: 0}) for name in ("asleep", "unseen")),
            route("narrow", "narrow", {"narrow": 1}),
        ])  # fmt: skip

    def _pipe(self):
        """Where the access log of `main` goes: a pipe that nobody reads, as small as pipes are."""
        path = self.folder / "access-log"
        os.mkfifo(path)
        return self._keep(Pipe(path))

    def _keep(self, one):
        self._ends.append(one.stop)
        return one

    @property
    def targets(self):
        return [proxy.metrics for proxy in (self.main, *self.twins, self.mortal)]

    def renew(self, days):
        """Another certificate in the place of the one that ends after so many days."""
        certificate(self.folder, f"days-{days}", 90)

    def close(self):
        for end in reversed(self._ends):
            end()


class Pipe:
    """A named pipe that is open for reading, and read only once that is asked for."""

    def __init__(self, path):
        self._end = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        fcntl.fcntl(self._end, fcntl.F_SETPIPE_SZ, 4096)
        self._reader = None

    def read(self):
        """From now on everything is read, and thrown away."""
        os.set_blocking(self._end, True)
        self._reader = subprocess.Popen(["cat"], stdin=self._end, stdout=subprocess.DEVNULL)

    def stop(self):
        if self._reader:
            self._reader.kill()
            self._reader.wait()
        os.close(self._end)
