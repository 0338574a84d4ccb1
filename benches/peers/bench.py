"""What every scenario stands on: the backends, and proxies that are started for it and checked to do the job.

Built by `run`, used by the scenarios. It must never let a proxy be measured that answers wrong, leaves a forwarded
header out or splits by other weights.
"""

import json
import re
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

import load
import tools
from load import Void
from machine import LOAD_CORE, PROXY_CORE, Server, free_ports
from proxies import Setup

MOST_BACKENDS = 50
# Percent points that a share may be off, and the fewest requests that tell.
OFF, TELLING = 2.0, 2000
# What each backend must be told, and what it was asked with.
NEEDED = {"x-forwarded-for": "127.0.0.1", "x-forwarded-host": "www.example.com"}
ASKED_FOR = ["x-real-ip", "x-request-id", "x-request-start", "via"]
TLS_BACKENDS = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log stderr error; worker_rlimit_nofile 16384;
events {{ worker_connections 16384; }}
http {{
  access_log off; keepalive_timeout 600s; keepalive_requests 1000000000; default_type text/plain;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  ssl_certificate {cert}; ssl_certificate_key {key}; ssl_protocols TLSv1.3;
  ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
  {servers}
}}
"""


class Bench:
    """Backends, and what it takes to start a proxy in front of them."""

    def __init__(self, arguments, kit, folder):
        self.arguments, self._kit, self._folder = arguments, kit, folder
        folder.chmod(0o755)  # nginx's workers run as somebody else.
        tools.certificate(folder)
        program = kit.backend()
        self.ports = free_ports(MOST_BACKENDS)
        names = Setup(folder, 0, tuple(self.ports)).names
        words = [f"{name}={port}" for name, port in zip(names, self.ports, strict=True)]
        self._servers = [Server("backend", LOAD_CORE, [program, "serve", *words], self.ports[-1])]
        self._tls_ports = None
        self.loader = load.Loader(folder, program)
        # Of each proxy, the headers that it was asked for and doesn't send.
        self.lacking = {}

    def stop(self):
        for server in reversed(self._servers):
            server.stop()

    def tls_backends(self):
        """Two backends over TLS, nginx's, started when they are first wanted."""
        if self._tls_ports is None:
            folder = self._folder / "tls-backends"
            folder.mkdir()
            ports = free_ports(2)
            servers = [f'server {{ listen 127.0.0.1:{p} ssl; location / {{ return 200 "ok\\n"; }} }}' for p in ports]
            config = folder / "nginx.conf"
            facts = {"folder": folder, "cert": self._folder / "cert.pem", "key": self._folder / "key.pem"}
            config.write_text(TLS_BACKENDS.format(servers="\n  ".join(servers), **facts))
            try:
                command = [self._kit.system("nginx"), "-e", "stderr", "-p", folder, "-c", config]
            except tools.Missing as missing:
                raise Void(f"backends over TLS: {missing}") from None
            self._servers.append(Server("tls-backends", LOAD_CORE, command, ports[0]))
            self._tls_ports = tuple(ports)
        return self._tls_ports

    @contextmanager
    def started(self, proxy, cores=(PROXY_CORE,), check=True, pause=0.005, **wishes):
        """A proxy that answers and does the job, until the end of the block."""
        backends = wishes.pop("backends", 2)
        ports = self.tls_backends() if wishes.get("upstream_tls") else tuple(self.ports[:backends])
        weights = wishes.pop("weights", (90, 10) if backends == 2 else (1,) * backends)
        folder = Path(tempfile.mkdtemp(prefix=f"{proxy.name}-", dir=self._folder))
        folder.chmod(0o755)
        setup = Setup(folder, free_ports(1)[0], ports, weights, **wishes)
        command, env = proxy.command(setup)

        def ready(port):
            return load.answers(port, "/", setup.tls)

        server = Server(proxy.name, set(cores), command, setup.port, env, ready, pause)
        try:
            server.setup, server.proxy = setup, proxy
            if check and not setup.upstream_tls:
                self._check(server)
            yield server
        finally:
            server.stop()
            shutil.rmtree(folder, ignore_errors=True)

    def _check(self, server):
        """What a backend receives of it."""
        status, body = load.fetch(server.port, "/head", server.setup.tls)
        fields = dict(re.findall(r"^([\w-]+): *(.*?)\r$", body.decode().lower(), re.M))
        needed = {**NEEDED, "x-forwarded-proto": server.setup.scheme}
        wrong = [f"{name}: {fields.get(name, 'nothing')}" for name, due in needed.items() if fields.get(name) != due]
        if "x-forwarded-port" not in fields:
            wrong.append("no x-forwarded-port")
        if status != 200 or wrong:
            raise Void(f"it doesn't do the job: {status}, {', '.join(wrong)}")
        self.lacking[server.name] = [name for name in ASKED_FOR if name not in fields]
        if self.arguments.heads:
            print(f"what a backend receives from {server.name}: {json.dumps(fields, indent=2)}")

    def counts(self, ports):
        """Requests that came in on each of these ports so far."""
        return [int(load.fetch(port, "/count")[1]) for port in ports]

    @contextmanager
    def split_held(self, server):
        """Voids what is in the block if the split is another than what was configured."""
        setup = server.setup
        if setup.upstream_tls:
            yield
            return
        before = self.counts(setup.backends)
        yield
        came = [after - start for after, start in zip(self.counts(setup.backends), before, strict=True)]
        total = sum(came)
        for (name, _, weight), count in zip(setup.targets, came, strict=True):
            share, due = 100 * count / max(1, total), 100 * weight / sum(setup.weights)
            if total >= TELLING and abs(share - due) > OFF:
                raise Void(f"{name} got {share:.1f} % of the requests, {due:.0f} % were due")
