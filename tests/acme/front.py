"""Crossfade in front, its configuration, and what can be seen of it: events, metrics, the state directory."""

import re
import socket
import ssl
import time
import urllib.request

from cryptography import x509
from processes import DEADLINE, crossfade

DOMAINS = ("www.example.com", "api.example.com")


def wait_until(what, condition):
    """Looks again and again; answers with what was found."""
    since = time.monotonic()
    while not (found := condition()):
        assert time.monotonic() - since < DEADLINE, f"waited in vain: {what()}"
        time.sleep(0.02)
    return found


class Front:
    """The proxy, started and stopped as often as a test likes, with one state directory."""

    def __init__(self, folder, certificate, backend, ports):
        self.folder = folder
        self.state = folder / "state"
        self.ports = ports
        self.authority = f"localhost:{ports.directory}"
        self._certificate = certificate
        self._backend = backend
        self._running = None

    def start(self, domains=DOMAINS, acme="", tls=True):
        """Listens for TLS, too, unless told not to."""
        self.configure(domains, acme, tls)
        self._running = crossfade(self.folder / "crossfade.toml")

    def configure(self, domains=DOMAINS, acme="", tls=True):
        https = f'https = "127.0.0.1:{self.ports.tls}"' if tls else ""
        names = ", ".join(f'"{domain}"' for domain in domains)
        text = f"""
[server]
http = "127.0.0.1:{self.ports.http}"
metrics = "127.0.0.1:0"
{https}

[state]
dir = "{self.state}"

[acme]
domains = [{names}]
directory = "https://{self.authority}/dir"
ca_file = "{self._certificate.ca}"
agree_to_terms = true
{acme}

[backends.app]
url = "{self._backend}"

[[routes]]
name = "web"
stable = "app"
"""
        new = self.folder / "new.toml"
        new.write_text(text)
        new.rename(self.folder / "crossfade.toml")

    def stop(self):
        if self._running:
            self._running.stop()
            self._running = None

    def restart(self):
        self.stop()
        self._running = crossfade(self.folder / "crossfade.toml")

    @property
    def lines(self):
        return self._running.lines

    def events(self, name):
        return [line for line in self.lines if f'event="{name}"' in line]

    def wait_for(self, name, count=1):
        """The event, as often as this since the start."""
        told = lambda: f"{count} x {name} in:\n" + "\n".join(self.lines)  # noqa: E731
        return wait_until(told, lambda: self.events(name)[count - 1 : count])[0]

    def get(self, path):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports.http}{path}", timeout=DEADLINE) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code

    def metric(self, sample):
        """The value of a sample written so, or None."""
        address = next(m[1] for line in self.lines if (m := re.search(r"http://(\S+) \(metrics\)", line)))
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=DEADLINE) as answer:
            lines = answer.read().decode().splitlines()
        return next((float(line.rsplit(" ", 1)[1]) for line in lines if line.rsplit(" ", 1)[0] == sample), None)

    def served(self, name=DOMAINS[0], alpn=None):
        """The certificate that a visitor gets who asks for this name."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if alpn:
            context.set_alpn_protocols([alpn])
        with socket.create_connection(("127.0.0.1", self.ports.tls), timeout=DEADLINE) as plain:
            with context.wrap_socket(plain, server_hostname=name) as secured:
                return x509.load_der_x509_certificate(secured.getpeercert(binary_form=True))

    def kept(self, name="certificate.pem"):
        return self.state / "acme" / self.authority.replace(":", "_") / name

    def certificate(self):
        """The certificate that is kept, the server's own."""
        return x509.load_pem_x509_certificates(self.kept().read_bytes())[0]
