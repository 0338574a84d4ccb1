"""Crossfade itself, with metrics on as in production.

Called through `proxies`. It must never be given a setting that the others don't have, nor be measured without its
metrics.
"""

import json

from machine import free_ports
from proxies import POOL, Proxy, replace
from proxies.api import Api
from tools import Missing, said

CONF = """
[server]
{door} = "127.0.0.1:{port}"
metrics = "127.0.0.1:{metrics}"
workers = {workers}
{tls}
[state]
dir = "{folder}/state"
[access_log]
target = "off"
{limits}
"""
TLS = """
[tls]
certificates = [{{ cert = "{cert}", key = "{key}" }}]
min_version = "1.3"
"""
BACKEND = """
[backends.{name}]
url = "{scheme}://127.0.0.1:{port}"
{more}
"""
ROUTE = """
[[routes]]
name = "{name}"
path = "{path}"
stable = "stable"
weights = {{ {weights} }}
"""
LIMITS = """
[limits]
pool_idle = {pool}
"""
MANY = "connections = 16000\n"


class Crossfade(Proxy):
    name = "crossfade"
    note = "metrics on"

    def __init__(self, binary):
        if not binary.exists():
            raise Missing(f"{binary} is not there: cargo build --release, or --bin")
        self.program = binary.resolve()

    def version(self):
        return f"{said([self.program, '--version']).split()[-1]}, rustls with aws-lc"

    def command(self, setup):
        more = f'ca_file = "{setup.ca}"' if setup.upstream_tls else ""
        scheme = "https" if setup.upstream_tls else "http"
        parts = [
            CONF.format(
                door=setup.scheme,
                port=setup.port,
                metrics=free_ports(1)[0],
                workers=setup.workers,
                folder=setup.folder,
                tls=TLS.format(cert=setup.cert, key=setup.key) if setup.tls else "",
                limits=LIMITS.format(pool=POOL) + (MANY if setup.many else ""),
            )
        ]
        parts += [BACKEND.format(name=n, scheme=scheme, port=p, more=more) for n, p, _ in setup.targets]
        weights = ", ".join(f"{name} = {weight}" for name, _, weight in setup.targets)
        parts += [
            ROUTE.format(name=path.strip("/") or "web", path=path, weights=weights) for path in setup.paths
        ]
        config = setup.folder / "crossfade.toml"
        replace(config, "".join(parts))
        return [self.program, "run", "--config", config], {}

    def changer(self, _server, setup):
        return Shift(setup)


class Shift(Api):
    """The command line's own request, on a connection that stays."""

    def __init__(self, setup):
        super().__init__(setup.folder / "state/admin.sock")

    def ask(self, weights):
        body = {"command": "shift", "backend": "candidate", "percent": 100 * weights[1] / sum(weights)}
        self.send("POST", "/api/v1/commands", json.dumps(body))
