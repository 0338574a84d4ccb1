"""What is measured: the rows of the table, each with what it starts, what one leg of it does and what a leg yields.

Called by `run`, which rotates the proxies. The first figure of a leg is the one that is compared. A leg must never last
longer than its load and the bounded waits around it.
"""

import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import changes
from load import Void
from machine import CORES, LOAD_CORE, PROXY_CORE, DidNotStart, busy, used

HERE = Path(__file__).resolve().parent
KIB, MIB = 1024, 1024 * 1024
IDLE, SETTLE, SETTLED = 6.0, 15.0, 1.5
STARTS = 3
OPEN_RATE = 2000


@dataclass(frozen=True)
class Scenario:
    """One row."""

    name: str
    title: str
    # Called with the bench, the server or the proxy, and the scenario; its dict's first figure is the compared one.
    leg: object
    wishes: dict = field(default_factory=dict)
    path: str = "/"
    length: int = 3
    body: int = 0
    connections: int = 64
    # Connections that are there at all, where that is another number.
    open: int = 64
    # Whether a leg starts its own proxy, cold; else one that stays is measured again in each round.
    cold: bool = False
    most_rounds: int = 50
    # Proxies that it takes; none for all.
    only: tuple = ()
    # The scenario of the same axis that it is compared with as well.
    base: str = ""


def metered(bench, server, run):
    """A load, the CPU seconds that it took of the proxy, and how its core was used."""
    core = min(server.cores)
    before, others, behind, start = server.reading(), busy(core), busy(LOAD_CORE), time.monotonic()
    with bench.split_held(server):
        load = run()
    spent, wall = used(before, server.reading()), time.monotonic() - start
    seen = {"core %": 100 * spent / wall}
    if len(server.cores) == 1:
        seen["others %"] = max(0.0, 100 * (busy(core) - others - spent) / wall)
        seen["load core %"] = min(100.0, 100 * (busy(LOAD_CORE) - behind) / wall)
    return load, spent, seen


def speeds(load):
    shown = {"requests/s": load.rate}
    if load.p50 is not None:
        shown["p50 µs"] = load.p50
    if load.p99 is not None:
        shown["p99 µs"] = load.p99
    return shown


def per_request(bench, server, scenario):
    seconds, url = bench.arguments.seconds, f"{server.setup.scheme}://127.0.0.1:{server.port}{scenario.path}"
    shape = (scenario.length, scenario.connections, scenario.body)
    load, spent, seen = metered(bench, server, lambda: bench.loader.wrk(url, seconds, *shape))
    return {"CPU µs/request": spent / load.requests * 1e6, **speeds(load), **seen}


def per_gigabyte(bench, server, scenario):
    figures = per_request(bench, server, scenario)
    cost = figures.pop("CPU µs/request")
    return {"CPU s/GB": cost * 1e-6 / (scenario.length / 1e9), **figures}


def handshake(bench, server, _scenario):
    seconds = bench.arguments.seconds
    load, spent, seen = metered(bench, server, lambda: bench.loader.handshakes(server.port, seconds))
    return {"CPU µs/handshake": spent / load.requests * 1e6, **speeds(load), **seen}


def http2(bench, server, scenario):
    url, seconds = f"https://127.0.0.1:{server.port}/", bench.arguments.seconds
    load, spent, seen = metered(bench, server, lambda: bench.loader.h2load(url, seconds, scenario.length))
    return {"CPU µs/request": spent / load.requests * 1e6, **speeds(load), **seen}


def open_loop(bench, server, _scenario):
    seconds = bench.arguments.seconds
    load, spent, seen = metered(bench, server, lambda: bench.loader.open_loop(server.port, OPEN_RATE, seconds))
    cost = spent / load.requests * 1e6
    return {"p50 µs": load.p50, "p90 µs": load.p90, "p99 µs": load.p99, "CPU µs/request": cost, **seen}


def direct(bench):
    """The open loop without a proxy: what its figures hold of the load and the machine."""
    load = bench.loader.open_loop(bench.ports[0], OPEN_RATE, bench.arguments.seconds)
    return {"p50 µs": load.p50, "p90 µs": load.p90, "p99 µs": load.p99}


def settled(server):
    """Its memory once that hasn't changed for a while; allocators give back late."""
    end, last, since = time.monotonic() + SETTLE, server.memory(), time.monotonic()
    while time.monotonic() < end and time.monotonic() - since < SETTLED:
        time.sleep(0.2)
        now = server.memory()
        if abs(now - last) > 64 * KIB:
            last, since = now, time.monotonic()
    return server.memory()


def memory(bench, proxy, scenario):
    with bench.started(proxy, **scenario.wishes) as server:
        start = settled(server)
        url = f"http://127.0.0.1:{server.port}"
        bench.loader.wrk(f"{url}/", bench.arguments.seconds, 3)
        bench.loader.wrk(f"{url}/m1", 1, 1 << 20)
        return {"MiB after load": settled(server) / MIB, "MiB at start": start / MIB}


def idle(bench, proxy, scenario):
    count, kind = bench.arguments.connections, "tls" if scenario.wishes.get("tls") else "plain"
    with bench.started(proxy, many=count > 8000, **scenario.wishes) as server:
        # The first hundred pay for what is there once: pools, tables, code that runs for the first time.
        with Held(server.port, 100, kind, bench.loader.env):
            before = settled(server)
            with Held(server.port, count, kind, bench.loader.env) as held:
                # Crossfade parks those that are silent for five seconds.
                time.sleep(IDLE)
                after = settled(server)
                closed = held.closed()
        if closed:
            raise Void(f"it closed {closed} of {count} connections")
        return {"KiB/connection": (after - before) / count / KIB, "MiB before": before / MIB, "MiB with": after / MIB}


class Held:
    """Visitors in a process of their own, who hold idle connections for as long as a block lasts."""

    def __init__(self, port, count, kind, env):
        words = [sys.executable, str(HERE / "idle.py"), str(port), str(count), kind]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self._visitors = subprocess.Popen(words, text=True, env=env, **pipes)
        failed = self._visitors.stdout.readline().strip()
        if failed != "0":
            self.__exit__()
            raise Void(f"{failed or 'all'} of {count} connections failed")

    def closed(self):
        self._visitors.stdin.write("\n")
        self._visitors.stdin.flush()
        return int(self._visitors.stdout.readline() or -1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._visitors.kill()
        self._visitors.communicate()


def weights(bench, proxy, _scenario):
    with bench.started(proxy, weights=(100, 0), check=False) as server:
        changer = proxy.changer(server, server.setup)
        try:
            quiet = changes.delays(server, changer)
            failures, made = changes.failures(bench, server, changer)
        except OSError as error:
            raise Void(f"a change of weights: {error}") from None
        finally:
            changer.close()
    ordered = sorted(quiet)
    return {
        "ms to new weights": statistics.median(ordered),
        "worst ms": ordered[-1],
        f"failures in {made}": failures,
    }


def start(bench, proxy, scenario):
    times = []
    for _ in range(STARTS):
        with bench.started(proxy, check=False, pause=0.0002, **scenario.wishes) as server:
            times.append(server.ready_after * 1000)
    return {"ms to first answer": statistics.median(times), "best ms": min(times)}


def grown(bench, proxy, scenario):
    """A cold leg of `scale`: another size of the same."""
    wishes = dict(scenario.wishes)
    wanted = wishes.get("workers", 1)
    cores = CORES[:wanted] if wanted > 1 else (PROXY_CORE,)
    with bench.started(proxy, cores=cores, **wishes) as server:
        shape = (scenario.length, scenario.connections)
        url = f"http://127.0.0.1:{server.port}{scenario.path}"
        bench.loader.wrk(url, 1, *shape)
        return per_request(bench, server, scenario)


def crowded(bench, proxy, scenario):
    """A cold leg of `scale`: the others of so many connections are open and silent, as most of a crowd is."""
    with bench.started(proxy, **scenario.wishes) as server:
        with Held(server.port, scenario.open - scenario.connections, "plain", bench.loader.env):
            bench.loader.wrk(f"http://127.0.0.1:{server.port}/", 1, scenario.length)
            return per_request(bench, server, scenario)


def scale():
    """The axes of growth, each from its smallest."""
    made = []

    def add(axis, size, title, **more):
        base = "" if not any(each.name.startswith(f"scale:{axis}=") for each in made) else f"scale:{axis}="
        base = next((each.name for each in made if base and each.name.startswith(base)), "")
        most = {"cold": True, "only": ("crossfade", "nginx", "haproxy"), "base": base}
        leg = crowded if axis == "connections" else grown
        made.append(Scenario(f"scale:{axis}={size}", title, leg, **most, **more))

    for routes in (10, 100, 1000):
        path = f"/r{routes // 2}/"
        add("routes", routes, f"{routes} routes, one in the middle asked for", wishes={"routes": routes}, path=path)
    for backends in (2, 10, 50):
        each = (1,) * backends
        wishes = {"backends": backends, "weights": each}
        add("backends", backends, f"{backends} backends of equal weight", wishes=wishes)
    for connections in (100, 1000, 10000):
        title = f"{connections} connections open, 64 of them asking"
        add("connections", connections, title, wishes={"many": True}, open=connections)
    for workers in (1, 2):
        add("workers", workers, f"{workers} workers on as many cores", wishes={"workers": workers})
    return made


def rows():
    """All of them by name, in the table's order; `scale` is several."""
    k64, m1, tls, to_tls = 64 << 10, 1 << 20, {"tls": True}, {"upstream_tls": True}
    singles = [
        Scenario("get", "small GET, keep-alive, 64 connections", per_request),
        Scenario("k64", "64 KiB responses, 64 connections", per_gigabyte, path="/k64", length=k64),
        Scenario("m1", "1 MiB responses, 64 connections", per_gigabyte, path="/m1", length=m1),
        Scenario("post", "16 KiB POST, 64 connections", per_request, path="/post", body=16 << 10),
        Scenario("tls", "TLS 1.3 keep-alive GET, 64 connections", per_request, wishes=tls),
        Scenario("handshake", "full TLS 1.3 handshake, ECDSA P-256, one GET", handshake, wishes=tls),
        Scenario("h2", "HTTP/2 over TLS, 16 connections of 32 streams", http2, wishes=tls),
        Scenario("upstream-tls", "https upstream, small GET, 64 connections", per_request, wishes=to_tls),
        Scenario("open", f"{OPEN_RATE} requests/s, open loop, corrected latency", open_loop),
        Scenario("memory", "resident memory", memory, cold=True, most_rounds=3),
        Scenario("idle", "memory of an idle keep-alive connection", idle, cold=True, most_rounds=2),
        Scenario("idle-tls", "memory of an idle TLS connection", idle, cold=True, most_rounds=2, wishes=tls),
        Scenario("weights", "change of weights", weights, cold=True, most_rounds=3),
        Scenario("start", "exec to first proxied response", start, cold=True),
    ]
    return {**{each.name: [each] for each in singles}, "scale": scale()}


def warnings(scenario):
    """What a reader must know of a row on this machine."""
    said = []
    if scenario.wishes.get("tls") or scenario.wishes.get("upstream_tls"):
        said.append("TLS rows compare TLS libraries too: the versions above name them")
    if scenario.wishes.get("workers", 1) > 1 and len(CORES) < 3:
        said.append("no core is left for the load: only CPU per request says something here, throughput doesn't")
    if LOAD_CORE == PROXY_CORE:
        said.append("proxy and load share a core")
    return said


FAILURES = (Void, DidNotStart, OSError)
