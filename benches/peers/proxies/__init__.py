"""The proxies that are measured: where each is, how it is told to do the same job, how its weights are changed.

The job: a 90/10 split over two keep-alive HTTP/1.1 backends, the forwarded headers set, no access log, one worker.
Called by `run` and the scenarios, through `Proxy`; each module here knows one of them. A configuration here must never
leave out a part of the job to be cheaper: what a peer doesn't have is found by asking it, and said.
"""

from dataclasses import dataclass
from pathlib import Path

# Idle connections that each may keep to a backend. HTTP/2 asks for 512 at once here, and who keeps fewer opens them
# again and again, which is another job.
POOL = 1024


@dataclass(frozen=True)
class Setup:
    """What a scenario wants of a proxy."""

    folder: Path
    port: int
    backends: tuple
    weights: tuple = (90, 10)
    tls: bool = False
    upstream_tls: bool = False
    routes: int = 1
    workers: int = 1
    # More connections than the defaults allow for, but no more of anything else.
    many: bool = False

    @property
    def ca(self):
        return self.folder.parent / "ca.pem"

    @property
    def cert(self):
        return self.folder.parent / "cert.pem"

    @property
    def key(self):
        return self.folder.parent / "key.pem"

    @property
    def paths(self):
        """Of the routes, the longest first and the one for everything last."""
        return [*(f"/r{number}" for number in range(self.routes - 1)), "/"]

    @property
    def names(self):
        """Of the backends: the first is the stable one."""
        return ["stable", "candidate", *(f"b{number}" for number in range(2, len(self.backends)))][: len(self.backends)]

    @property
    def targets(self):
        """Name, port and weight of each backend."""
        return list(zip(self.names, self.backends, self.weights, strict=True))

    @property
    def scheme(self):
        return "https" if self.tls else "http"


class Proxy:
    """One of them. Its name is the column's."""

    name = ""
    # What the table says about it beside its version.
    note = ""

    def __init__(self, tools):
        """Finds it, or raises Missing."""

    def version(self):
        """It and its TLS library, as it says."""
        raise NotImplementedError

    def command(self, setup):
        """Writes its configuration and answers with the command that serves it, and the environment that takes."""
        raise NotImplementedError

    def changer(self, _server, _setup):
        """What changes its weights while it runs; None where nothing can."""
        return None


class Changer:
    """A change of weights in two halves, so that what comes between can be watched."""

    def ask(self, weights):
        """Sends the command and doesn't wait."""
        raise NotImplementedError

    def settle(self):
        """Waits for its answer; raises OSError if it was refused."""

    def close(self):
        """Lets go of what it holds."""


def replace(file, text):
    """A file that is there whole or not at all."""
    beside = file.with_suffix(".new")
    beside.write_text(text)
    beside.rename(file)
