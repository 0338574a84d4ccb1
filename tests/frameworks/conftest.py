"""The stage: a throw-away certificate authority, two TLS backends of each framework, and Crossfade in front."""

from dataclasses import dataclass

import pytest
import trustme
from processes import crossfade, gunicorn, node
from provider import Provider
from visitor import Visitor

BACKENDS = ("stable", "candidate")
ONE_HOP = "x_for = 1\nx_proto = 1\nx_host = 1\nx_port = 1"
NO_HOP = "x_for = 0\nx_proto = 0\nx_host = 0\nx_port = 0"


@dataclass
class Certificate:
    """Paths of PEM files: the authority, a server's chain, its key."""

    ca: str
    cert: str
    key: str


@dataclass
class Stage:
    """One framework behind Crossfade: an address where one hop in front is believed, and one where none is."""

    name: str
    believing: str
    doubting: str
    provider: Provider

    def visitor(self, backend):
        """Comes through a hop that is believed."""
        return Visitor(self.believing, backend)

    def stranger(self, backend, headers):
        """Comes straight to us, saying what it likes."""
        return Visitor(self.doubting, backend, headers)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """For localhost by name and by address, from an authority that nobody else knows."""
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    paths = Certificate(str(folder / "ca.pem"), str(folder / "cert.pem"), str(folder / "key.pem"))
    authority.cert_pem.write_to_path(paths.ca)
    issued.private_key_pem.write_to_path(paths.key)
    for blob in issued.cert_chain_pems:
        blob.write_to_path(paths.cert, append=True)
    return paths


@pytest.fixture(scope="session")
def provider(certificate):
    running = Provider(certificate)
    yield running
    running.stop()


def start_backend(framework, name, certificate, provider):
    if framework == "flask":
        env = {"PROVIDER": provider.url, "REQUESTS_CA_BUNDLE": certificate.ca}
        return gunicorn(name, "flask_app:app", certificate, env)
    if framework == "django":
        return gunicorn(name, "django_app:application", certificate, {})
    return node(name, "express_app.js", certificate, {})


def configuration(forwarded, ports, certificate):
    """One backend by name (with SNI), the other by address (which has none)."""
    return f"""
[server]
http = "127.0.0.1:0"
metrics = "127.0.0.1:0"

[forwarded]
{forwarded}

[backends.stable]
url = "https://localhost:{ports["stable"]}"
ca_file = "{certificate.ca}"

[backends.candidate]
url = "https://127.0.0.1:{ports["candidate"]}"
ca_file = "{certificate.ca}"

[[routes]]
name = "web"
path = "/"
stable = "stable"
weights = {{ stable = 50, candidate = 50 }}
pin = {{ header = "X-Crossfade-Backend" }}
"""


@pytest.fixture(scope="session", params=["flask", "django", "express"])
def stage(request, certificate, provider, tmp_path_factory):
    running = []
    try:
        backends = {name: start_backend(request.param, name, certificate, provider) for name in BACKENDS}
        running.extend(backends.values())
        ports = {name: backend.address.rsplit(":", 1)[1] for name, backend in backends.items()}
        addresses = []
        for forwarded in (ONE_HOP, NO_HOP):
            config = tmp_path_factory.mktemp(request.param) / "crossfade.toml"
            config.write_text(configuration(forwarded, ports, certificate))
            running.append(crossfade(config))
            addresses.append(running[-1].address)
        yield Stage(request.param, *addresses, provider)
    finally:
        for process in reversed(running):
            process.stop()


@pytest.fixture(params=BACKENDS)
def backend(request):
    return request.param
