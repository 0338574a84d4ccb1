"""A real Prometheus that scrapes one target every second, and the questions that Grafana would ask it.

Started by stage.py; test files ask. It listens on loopback alone, on a port of the system's choice, and keeps its data
in the test's folder.
"""

import json
import math
import re
import time
import urllib.error
import urllib.parse
import urllib.request

from processes import DEADLINE, Process

CONFIG = """
global:
  scrape_interval: 1s
  scrape_timeout: 1s
scrape_configs:
  - job_name: crossfade
    static_configs:
      - targets: ["{target}"]
"""


def wait_until(what, condition):
    """Looks again and again; answers with what was found."""
    since = time.monotonic()
    while not (found := condition()):
        assert time.monotonic() - since < DEADLINE, f"waited in vain for {what}"
        time.sleep(0.02)
    return found


class Prometheus:
    """The server and its API."""

    def __init__(self, folder, target):
        config = folder / "prometheus.yml"
        config.write_text(CONFIG.format(target=target))
        command = [
            "prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}",
            "--web.listen-address=127.0.0.1:0",
        ]  # fmt: skip
        # It says where it listens, then that it is ready.
        self._process = Process("prometheus", command, r'msg="(Server is ready to receive web requests)')
        lines = "\n".join(self._process.lines)
        self.address = re.search(r'msg="Listening on" address=(\S+)', lines)[1]

    def stop(self):
        self._process.stop()

    def ask(self, path, **words):
        """The data of an answer of the API; what it says is wrong is an error of ours."""
        url = f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(words, doseq=True)}"
        try:
            with urllib.request.urlopen(url, timeout=DEADLINE) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"Prometheus refuses {words}: {error.read().decode()}") from None

    def at(self, moment, expr):
        """What an expression was at a moment: pairs of labels and value."""
        found = self.ask("query", query=expr, time=f"{moment:.3f}")["result"]
        return [(series["metric"], float(series["value"][1])) for series in found]

    def between(self, span, expr):
        """The same over a time, two points a scrape: pairs of labels and those values that are numbers."""
        start, end = span
        found = self.ask("query_range", query=expr, start=f"{start:.3f}", end=f"{end:.3f}", step="0.5")["result"]
        return [(series["metric"], numbers(series["values"])) for series in found]

    def values_of(self, span, label, match):
        return self.ask(f"label/{label}/values", **{"match[]": match, "start": span[0], "end": span[1]})

    def scraped(self):
        """The target's time of the last scrape that succeeded; 0 where there is none."""
        return max((value for _, value in self.at(time.time(), "timestamp(crossfade_revision)")), default=0)

    def scraped_after(self, moment):
        """Waits for a scrape that began after this; answers with its time."""
        return wait_until("a scrape", lambda: (last := self.scraped()) > moment and last)


def numbers(values):
    return [number for _, text in values if not math.isnan(number := float(text))]
