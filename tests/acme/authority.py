"""A real certificate authority: Debian's pebble with its own DNS, on loopback.

Used by conftest.py and the tests. It forgets everything when it ends, accounts too.
"""

import json
import socket
from dataclasses import dataclass

from processes import Process


def free_ports(count):
    """Ports that nobody listens on; pebble has to be told where the proxy will be, so that it can't choose itself."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


@dataclass
class Ports:
    """Where the proxy serves plain HTTP and TLS, and where the authority and its DNS are."""

    http: int
    tls: int
    directory: int
    management: int
    dns: int
    dns_management: int

    @classmethod
    def free(cls):
        return cls(*free_ports(6))


class Authority:
    """Pebble, whose validation asks the proxy's ports of every name."""

    def __init__(self, folder, certificate, ports, lifetime=None):
        """`lifetime` is that of its certificates, in seconds."""
        self.directory = f"https://localhost:{ports.directory}/dir"
        config = {
            "listenAddress": f"127.0.0.1:{ports.directory}",
            "managementListenAddress": f"127.0.0.1:{ports.management}",
            "certificate": certificate.cert,
            "privateKey": certificate.key,
            "httpPort": ports.http,
            "tlsPort": ports.tls,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": False,
        }
        if lifetime:
            config["certificateValidityPeriod"] = lifetime
        path = folder / "pebble.json"
        path.write_text(json.dumps({"pebble": config}))
        self._dns = Process(
            "pebble-challtestsrv",
            [
                "pebble-challtestsrv", "-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-http01", "", "-https01", "",
                "-tlsalpn01", "", "-dns01", f"127.0.0.1:{ports.dns}", "-management", f"127.0.0.1:{ports.dns_management}",
            ],
            r"(Starting management server)",
        )  # fmt: skip
        self._pebble = Process(
            "pebble",
            ["pebble", "-config", str(path), "-dnsserver", f"127.0.0.1:{ports.dns}"],
            r"(ACME directory available)",
            {"PEBBLE_VA_NOSLEEP": "1"},
        )

    @property
    def lines(self):
        return self._pebble.lines

    def stop(self):
        self._pebble.stop()
        self._dns.stop()
