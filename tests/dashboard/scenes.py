"""A rollout that never happened: routes, history and figures that move, for the mock to tell.

Used by mock.py. The history is the one source: weights at any time are those that its last record before it left.
"""

import copy
import math
import random
import time
from datetime import datetime, timezone

STEP = 5
POINTS = 180


def rfc3339(seconds):
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def percent(number):
    return f"{number:g}%"


class Route:
    """One route as it is now, and how it behaves."""

    def __init__(self, name, stable, weights, hosts=(), path="/", rate=120.0, faults=None):
        self.name, self.stable, self.hosts, self.path = name, stable, list(hosts), path
        self.file = dict(weights)
        self.weights, self.mode, self.rolled_back = dict(weights), "open", False
        self.rate, self.faults = rate, faults or {}

    def state(self):
        return {"weights": dict(self.weights), "mode": self.mode, "rolled_back": self.rolled_back}

    def become(self, state):
        self.weights, self.mode, self.rolled_back = dict(state["weights"]), state["mode"], state["rolled_back"]

    def names(self):
        return [self.stable, *sorted(name for name in self.weights if name != self.stable)]


class World:
    """Everything that the API tells, for one scene."""

    def __init__(self, scene="quiet"):
        self.started = time.time()
        self.history, self.revision = [], 0
        self.draining, self.refused, self.trouble = False, None, None
        # Between so many seconds ago nothing was measured.
        self.gap = (300, 420) if scene == "gap" else (0, 0)
        self.routes = ROUTES.get(scene, ROUTES["quiet"])()
        self.initial = {route.name: route.state() for route in self.routes}
        self.since = 0.0 if scene == "fresh" else 3600.0
        STORIES.get(scene, tell_quiet)(self)

    def route(self, name):
        return next((route for route in self.routes if route.name == name), None)

    def record(self, ago, actor, via, command, reason=None, undoes=None, **states):
        """Makes the next revision: `states` names routes and what they become."""
        changes = []
        for name, after in states.items():
            route = self.route(name)
            before = route.state()
            route.become({**before, **after})
            changes.append({"route": name, "from": before, "to": route.state()})
        return self.keep(ago, actor, via, command, changes, reason, undoes)

    def keep(self, ago, actor, via, command, changes, reason=None, undoes=None):
        self.revision += 1
        at = time.time() - ago
        record = {"revision": self.revision, "at": rfc3339(at), "actor": actor, "via": via, "command": command}
        record |= {"reason": reason} if reason else {}
        record |= {"undoes": undoes} if undoes else {}
        record |= {"changes": copy.deepcopy(changes), "_at": at}
        self.history.insert(0, record)
        return record

    def told(self, record):
        return {key: value for key, value in record.items() if not key.startswith("_")}

    def state_at(self, route, at):
        for record in self.history:
            if record["_at"] <= at:
                for change in record["changes"]:
                    if change["route"] == route.name and change.get("to"):
                        return change["to"]
        return self.initial[route.name]

    def measure(self, route, name, at):
        """What one backend of a route did at a time; the same time always measures the same."""
        noise = random.Random(f"{route.name}{name}{int(at)}")
        state = self.state_at(route, at)
        weight = state["weights"].get(name, 0.0)
        if state["rolled_back"]:
            weight = 100.0 if name == route.stable else 0.0
        wave = 1 + 0.18 * math.sin(at / 260) + 0.06 * math.sin(at / 47)
        rate = route.rate * wave * weight / 100 * noise.uniform(0.94, 1.06)
        if state["mode"] != "open" or rate < 0.02:
            return {"weight": weight, "rate": 0.0, "errors": None, "p50": None, "p95": None, "p99": None}
        fault = route.faults.get(name, {})
        worse = min(1.0, max(0.0, 1 - (fault.get("until", time.time()) - at) / 420)) if fault else 0.0
        base = {"heroku": 0.082, "fly": 0.061}.get(name, 0.07)
        p50 = base * noise.uniform(0.95, 1.08) * (1 + worse * fault.get("slow", 0))
        errors = 0.002 * noise.uniform(0, 1.6) + worse * fault.get("errors", 0) * noise.uniform(0.8, 1.2)
        return {
            "weight": weight, "rate": rate, "errors": round(errors, 5), "p50": p50,
            "p95": p50 * noise.uniform(2.6, 3.1), "p99": p50 * noise.uniform(5.2, 6.6),
        }  # fmt: skip

    def backend(self, route, name, now):
        seen = self.measure(route, name, now)
        fault = route.faults.get(name, {})
        status = {
            "name": name, "urls": [f"https://{route.name}-{name}.example.net"], "weight": route.weights[name],
            "file_weight": route.file[name], "up": not fault.get("down", False),
            "requests_per_second": seen["rate"], "in_flight": round(seen["rate"] * (seen["p50"] or 0) * 1.3),
            "tunnels": 14 if name == route.stable else 2 * (seen["weight"] > 0),
        }  # fmt: skip
        if route.rolled_back:
            status["weight"] = 100.0 if name == route.stable else 0.0
        if seen["rate"] or self.since:
            status["last_answer_seconds"] = (1.3 / seen["rate"] if seen["rate"] else 74.0) + fault.get("silent", 0)
        figures = {"error_ratio": seen["errors"], "p50": seen["p50"], "p95": seen["p95"], "p99": seen["p99"]}
        return status | {key: value for key, value in figures.items() if value is not None}

    def route_status(self, route, now):
        return {
            "name": route.name, "hosts": route.hosts, "path": route.path, "mode": route.mode, "stable": route.stable,
            "rolled_back": route.rolled_back,
            "overridden": route.weights != route.file or route.mode != "open" or route.rolled_back,
            "backends": [self.backend(route, name, now) for name in route.names()],
        }  # fmt: skip

    def status(self):
        now = time.time()
        status = {
            "version": "0.4.0", "revision": self.revision, "at": rfc3339(now), "started": rfc3339(self.started),
            "draining": self.draining, "window_seconds": 10.0,
            "routes": [self.route_status(route, now) for route in self.routes],
            "history": [self.told(record) for record in self.history[:10]],
        }  # fmt: skip
        status |= {"config_refused": self.refused} if self.refused else {}
        return status | ({"state_trouble": self.trouble} if self.trouble else {})

    def lines(self, times):
        for route in self.routes:
            for name in route.names():
                points = [self.measure(route, name, at) for at in times]
                yield {
                    "route": route.name, "backend": name,
                    "requests_per_second": [point["rate"] for point in points],
                    "error_ratio": [point["errors"] for point in points],
                    "p50": [point["p50"] for point in points], "p95": [point["p95"] for point in points],
                    "p99": [point["p99"] for point in points], "weight": [point["weight"] for point in points],
                }  # fmt: skip

    def series(self):
        last = math.floor(time.time() / STEP) * STEP
        first = self.started - self.since
        times = [float(last - STEP * back) for back in range(POINTS - 1, -1, -1) if last - STEP * back >= first]
        times = [at for at in times if not self.gap[0] < last - at < self.gap[1]]
        return {"step_seconds": STEP, "at": times, "lines": list(self.lines(times))}

    def sample(self):
        at = float(math.floor(time.time() / STEP) * STEP)
        lines = [{key: value[0] if isinstance(value, list) else value for key, value in line.items()}
                 for line in self.lines([at])]  # fmt: skip
        return {"at": at, "lines": lines}


def one_route(faults=None):
    return [Route("web", "heroku", {"heroku": 95.0, "fly": 5.0}, ["www.example.com", "*.example.com"], faults=faults)]


def three_backends():
    weights = {"heroku": 90.0, "fly": 5.0, "aws": 5.0}
    return [Route("web", "heroku", weights, ["www.example.com"], rate=180)]


def many_routes():
    names = ["web", "api", "assets", "admin", "webhooks", "socket", "search", "legacy"]
    return [
        Route(name, "heroku", web(5 * index)["weights"], [f"{name}.example.com"], f"/{name}", 20.0 + 17 * index)
        for index, name in enumerate(names)
    ]


def web(fly, **more):
    return {"weights": {"heroku": 100.0 - fly, "fly": float(fly)}, **more}


def long_names():
    """Everything as long as it may be, and a route that has only one backend."""
    names = ["the-old-platform-" + "x" * 40, "the-new-platform-" + "y" * 40]
    hosts = [f"shop-{index}.a-rather-long-name.example.com" for index in range(12)]
    long = Route("the-route-" + "z" * 50, names[0], {names[0]: 60.0, names[1]: 40.0}, hosts, "/" + "p" * 90)
    return [long, Route("alone", "heroku", {"heroku": 100.0})]


def tell_long(world):
    world.keep(3500, "crossfade", "start", "start", [])
    route = world.routes[0]
    for turn in range(998):
        actor, reason = ("m" * 64, "w" * 500) if turn % 7 == 0 else ("maria", "why not")
        states = {route.name: {"mode": "maintenance" if turn % 2 else "open"}}
        world.record(3400 - turn, actor, "admin", f"mode {turn}", reason, **states)


def tell_fresh(world):
    world.keep(0, "crossfade", "start", "start", [])


def tell_quiet(world):
    world.keep(3500, "crossfade", "start", "start", [])
    if world.route("web").names() != ["heroku", "fly"]:
        return
    world.record(2900, "maria", "socket", "shift fly 1%", "first visitors", web=web(1))
    world.record(1500, "maria", "admin", "shift fly 5%", "an hour without a complaint", web=web(5))
    world.record(640, "jonas", "admin", "shift fly 25%", "p95 on par, errors flat since 22:40", web=web(25))
    world.record(250, "uid 1000", "socket", "shift fly +5", None, web=web(30))


def tell_failing(world):
    tell_quiet(world)


def tell_rolled_back(world):
    tell_quiet(world)
    for route in world.routes:
        for fault in route.faults.values():
            fault["until"] = time.time() - 95
    world.record(95, "jonas", "admin", "rollback", "errors on fly above 5 %", web={"rolled_back": True})


def tell_refused(world):
    tell_quiet(world)
    world.refused = (
        "crossfade.toml:31:11: the backend `fly2` isn't defined; did you mean `fly`?\n"
        "   31 | weights = { heroku = 90, fly2 = 10 }\n      |                          ^^^^\n"
        "crossfade.toml:34:1: unknown key `stickyness`; did you mean `sticky`?"
    )


def tell_trouble(world):
    tell_quiet(world)
    world.trouble = "the journal /var/lib/crossfade/journal can't be written: No space left on device (os error 28)"
    world.record(40, "maria", "admin", "mode maintenance", "database move", web={"mode": "maintenance"})
    world.draining = True


def tell_hostile(world):
    tell_quiet(world)
    why = "<script>alert(2)</script> & so on"
    world.record(5, "<img src=x onerror=alert(1)>", "admin", "shift fly 31%", why, web=web(31))


FAULT = {"fly": {"errors": 0.084, "slow": 2.4}}
ROUTES = {
    "quiet": one_route, "failing": lambda: one_route(copy.deepcopy(FAULT)),
    "rolled-back": lambda: one_route(copy.deepcopy(FAULT)), "three": three_backends, "many": many_routes,
    "long": long_names,
    "stable-down": lambda: one_route({"heroku": {"down": True, "silent": 184}}),
}  # fmt: skip
STORIES = {
    "fresh": tell_fresh, "failing": tell_failing, "rolled-back": tell_rolled_back, "refused": tell_refused,
    "trouble": tell_trouble, "hostile": tell_hostile, "gap": tell_quiet, "long": tell_long,
}  # fmt: skip
