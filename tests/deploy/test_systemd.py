"""The units of deploy/systemd, verified, and started by a systemd of their own with all of their hardening in force.

systemd runs as process 1 of namespaces (boot.sh): a root with this machine's /usr and nothing else of it, a network of
its own, so that ports 80 and 9902 are free, and a cgroup of its own.
"""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from processes import binary
from stage import AS_ROOT, DEPLOY, replaced, until

HERE = Path(__file__).resolve().parent
UNITS = DEPLOY / "systemd"
INSTALLED = ["/etc/systemd/system/crossfade.service", "/etc/systemd/system/crossfade.socket"]
CONFIG = "/etc/crossfade/crossfade.toml"
ONLY = "[Unit]\nDescription=Nothing but what the test starts\n"
BACKEND = """[Service]
ExecStart=/usr/bin/python3 -m http.server --bind 127.0.0.1 --directory /tmp 8001
"""
# Points, of 100, at which `systemd-analyze security` would call it more exposed than it has to be.
EXPOSURE = 20


def machine_etc(folder, unit=None):
    """What deploy/systemd/README.md installs into /etc, and a backend."""
    system = folder / "systemd/system"
    system.mkdir(parents=True)
    (system / "crossfade.service").write_text(unit or (UNITS / "crossfade.service").read_text())
    shutil.copy(UNITS / "crossfade.socket", system)
    (system / "backend.service").write_text(BACKEND)
    (system / "only.target").write_text(ONLY)
    (folder / "sysusers.d").mkdir()
    shutil.copy(UNITS / "sysusers.conf", folder / "sysusers.d/crossfade.conf")
    (folder / "crossfade").mkdir()
    shutil.copy(UNITS / "crossfade.toml", folder / "crossfade")
    # Root's alone, as with a token in it: systemd reads it.
    (folder / "crossfade/environment").write_text("STABLE_URL=http://127.0.0.1:8001\n")
    (folder / "crossfade/environment").chmod(0o600)


class Machine:
    """A booted systemd, and what root does on it."""

    def __init__(self, folder, unit=None):
        self.root, etc = folder / "root", folder / "etc"
        self.root.mkdir()
        machine_etc(etc, unit)
        self.name = f"crossfade-test-{os.getpid()}-{time.monotonic_ns()}"
        self.output = (folder / "output").open("w+")
        arguments = ["outside", self.root, etc, binary(), self.name]
        self.child = subprocess.Popen(
            [*AS_ROOT, HERE / "boot.sh", *map(str, arguments)],
            stdin=subprocess.DEVNULL, stdout=self.output, stderr=self.output,
        )  # fmt: skip
        self.pid = None
        try:
            self._boot()
        except BaseException:
            self.stop()
            raise

    def _boot(self):
        self.pid = until("systemd", self._first)
        until("systemd takes commands", lambda: self.run("systemctl", "is-active", "only.target").stdout == "active\n")
        self.do("systemctl", "start", "systemd-journald.socket", "systemd-journald.service")
        self.do("systemd-sysusers")
        self.do("systemctl", "start", "backend")
        until("the backend", lambda: self.get("127.0.0.1:8001") == "200")

    def _first(self):
        assert self.child.poll() is None, self.said()
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
                if words[0] == b"/lib/systemd/systemd" and self._within(folder):
                    return int(folder.name)
            except (FileNotFoundError, ProcessLookupError):
                continue
        return None

    def _within(self, folder):
        return self.name in (folder / "cgroup").read_text()

    def said(self):
        self.output.seek(0)
        return self.output.read()

    def run(self, *command, env=()):
        spaces = ["nsenter", "-t", str(self.pid), "-m", "-p", "-n", "-u", "-i", "-C"]
        spaces += [f"--root=/proc/{self.pid}/root", "--wd=/"]
        path = "PATH=/usr/local/bin:/usr/bin:/usr/sbin:/bin:/sbin"
        return subprocess.run(
            [*AS_ROOT, *spaces, "env", "-i", path, f"CROSSFADE_CONFIG={CONFIG}", *env, *map(str, command)],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=90,
        )  # fmt: skip

    def do(self, *command):
        done = self.run(*command)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}\n{self.journal()}"
        return done.stdout

    def journal(self):
        """What systemd and its services have said."""
        return self.run("journalctl", "--no-pager", "-o", "cat", "-n", "60").stdout

    def get(self, where):
        return self.run("curl", "-s", "-m", "10", "-o", "/dev/null", "-w", "%{http_code}", f"http://{where}/").stdout

    def write(self, path, text):
        # As an editor does: another file in its place.
        done = self.run("sh", "-c", 'printf %s "$1" >"$2.new" && mv "$2.new" "$2"', "sh", text, path)
        assert done.returncode == 0, done.stderr

    def main_pid(self):
        return int(self.do("systemctl", "show", "-P", "MainPID", "crossfade"))

    def facts(self):
        """Of the service's main process, as the kernel sees it."""
        lines = self.do("cat", f"/proc/{self.main_pid()}/status").splitlines()
        return dict(line.split(":\t", 1) for line in lines if ":\t" in line)

    def stop(self):
        # unshare takes its child, process 1, and so all of them, with it.
        subprocess.run([*AS_ROOT, "kill", "-KILL", str(self.pid or self.child.pid)], check=False)
        self.child.wait(timeout=30)
        for hierarchy in ("/sys/fs/cgroup", "/sys/fs/cgroup/systemd"):
            remove(Path(hierarchy) / self.name)


def remove(cgroup):
    """What is left of a cgroup without processes, from within."""
    if not cgroup.is_dir():
        return
    folders = sorted((Path(path) for path, _, _ in os.walk(cgroup)), key=lambda path: -len(path.parts))
    for folder in folders:
        command = [*AS_ROOT, "rmdir", folder]
        until("the cgroup is empty", lambda: subprocess.run(command, capture_output=True).returncode == 0)


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    one = Machine(tmp_path_factory.mktemp("machine"))
    yield one
    one.stop()


@pytest.fixture
def service(machine):
    """The service, started on its own; stopped with the test."""
    machine.do("systemctl", "start", "crossfade")
    yield machine
    machine.do("systemctl", "stop", "crossfade.service", "crossfade.socket")
    machine.write(CONFIG, (UNITS / "crossfade.toml").read_text())


def test_the_units_are_verified_without_a_word(machine):
    done = machine.run("systemd-analyze", "verify", "--man=no", *INSTALLED)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("unit, old, new, named", [
    ("crossfade.service", "ProtectSystem=", "ProtectSystems=", "ProtectSystems"),
    ("crossfade.service", "Type=notify", "Type=notifies", "notifies"),
    ("crossfade.socket", "Backlog=", "Backlogs=", "Backlogs"),
])  # fmt: skip
def test_an_unknown_key_or_value_of_a_unit_is_named(machine, unit, old, new, named):
    folder = f"/tmp/{named}"
    machine.do("mkdir", "-p", folder)
    for name in ("crossfade.service", "crossfade.socket"):
        text = (UNITS / name).read_text()
        machine.write(f"{folder}/{name}", replaced(text, {old: new}) if name == unit else text)
    done = machine.run("systemd-analyze", "verify", "--man=no", f"{folder}/{unit}")
    assert named in done.stderr


def test_the_unit_is_no_more_exposed_than_it_has_to_be(machine):
    def judged(path):
        return machine.run("systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE}", path)

    done = judged("/etc/systemd/system/crossfade.service")
    assert done.returncode == 0, done.stdout
    machine.do("mkdir", "-p", "/tmp/weak")
    weak = replaced((UNITS / "crossfade.service").read_text(), {"SystemCallFilter=": "#", "ProtectSystem=strict": ""})
    machine.write("/tmp/weak/crossfade.service", weak)
    assert judged("/tmp/weak/crossfade.service").returncode != 0


def test_it_starts_serves_port_80_and_ends_in_order(service):
    assert service.get("127.0.0.1:80") == "200"
    assert service.do("systemctl", "is-active", "crossfade") == "active\n"
    service.do("systemctl", "stop", "crossfade")
    assert service.do("systemctl", "show", "-P", "Result", "crossfade") == "success\n"
    assert service.do("systemctl", "show", "-P", "ExecMainStatus", "crossfade") == "0\n"


def test_the_hardening_is_in_force(service):
    facts = service.facts()
    net_bind_service = 1 << 10
    assert int(facts["CapEff"], 16) == int(facts["CapBnd"], 16) == net_bind_service
    assert facts["NoNewPrivs"] == "1" and facts["Seccomp"] == "2"
    user = service.do("id", "-u", "crossfade").strip()
    assert user != "0" and facts["Uid"].split() == [user] * 4
    mounts = {}
    for line in service.do("cat", f"/proc/{service.main_pid()}/mounts").splitlines():
        mounts[line.split()[1]] = line.split()[3].split(",")[0]
    assert mounts["/"] == "ro" and mounts["/var/lib/crossfade"] == mounts["/var/log/crossfade"] == "rw"


def test_it_keeps_its_state_and_its_log_where_they_belong(service):
    service.do("crossfade", "shift", "fly", "5%", "--reason", "canary")
    service.get("127.0.0.1:80")
    listed = service.do("ls", "-l", "/var/lib/crossfade")
    assert "journal" in listed and "admin.sock" in listed
    until("a record in the log", lambda: "backend" in service.run("cat", "/var/log/crossfade/access.log").stdout)
    service.do("systemctl", "restart", "crossfade")
    assert "5" in service.do("crossfade", "diff")
    service.do("crossfade", "undo")


def revision(machine):
    for line in machine.do("curl", "-s", "http://127.0.0.1:9902/metrics").splitlines():
        if line.startswith("crossfade_revision "):
            return float(line.split()[1])
    raise AssertionError("no crossfade_revision")


def test_a_reload_is_live_when_it_returns_and_fails_where_the_file_is_refused(service):
    before, main = revision(service), service.main_pid()
    text = (UNITS / "crossfade.toml").read_text()
    service.write(CONFIG, replaced(text, {"heroku = 100, fly = 0": "heroku = 99, fly = 1"}))
    service.do("systemctl", "reload", "crossfade")
    assert revision(service) > before
    service.do("mv", "/var/log/crossfade/access.log", "/var/log/crossfade/access.log.1")
    service.write(CONFIG, replaced(text, {"drain_timeout": "drain_timeouts"}))
    refused = service.run("systemctl", "reload", "crossfade")
    assert refused.returncode != 0
    # It serves on, as the same process, and has opened its log anew all the same.
    assert service.get("127.0.0.1:80") == "200" and service.main_pid() == main
    assert service.do("systemctl", "is-active", "crossfade") == "active\n"
    until("the new log", lambda: service.run("test", "-s", "/var/log/crossfade/access.log").returncode == 0)


@pytest.mark.parametrize("how", ["command", "signal"])
def test_an_upgrade_under_the_hardening_leaves_the_service_with_the_new_process(service, how):
    before = service.main_pid()
    # A new version in the same place, as `install` does it.
    service.do("sh", "-c", "cp /usr/local/bin/crossfade /tmp/new && mv /tmp/new /usr/local/bin/crossfade")
    if how == "command":
        service.do("crossfade", "upgrade")
    else:
        service.do("systemctl", "kill", "-s", "USR2", "--kill-whom=main", "crossfade")
    until("another main process", lambda: service.main_pid() not in (0, before))
    assert service.get("127.0.0.1:80") == "200"
    until("the old one has ended", lambda: service.run("test", "-e", f"/proc/{before}").returncode != 0)
    assert service.do("systemctl", "is-active", "crossfade") == "active\n"
    assert service.facts()["Seccomp"] == "2" and service.get("127.0.0.1:80") == "200"


def test_with_the_socket_unit_a_visitor_waits_for_a_restart(machine):
    machine.do("systemctl", "start", "crossfade.socket")
    machine.do("systemctl", "start", "crossfade.service")
    try:
        assert machine.get("127.0.0.1:80") == "200"
        machine.do("systemctl", "stop", "crossfade.service")
        # Nobody serves; the socket holds the visitor, and starts the service.
        assert machine.get("127.0.0.1:80") == "200"
    finally:
        machine.do("systemctl", "stop", "crossfade.socket", "crossfade.service")


def test_it_is_started_again_when_it_is_killed(service):
    before = service.main_pid()
    service.do("kill", "-KILL", str(before))
    until("another process", lambda: service.main_pid() not in (0, before))
    until("it serves", lambda: service.get("127.0.0.1:80") == "200")


def test_hardening_that_takes_too_much_would_be_seen(tmp_path):
    """What the other tests rely on: the unit's lines are in force, so a wrong one keeps it from starting."""
    text = (UNITS / "crossfade.service").read_text()
    taken = {"AmbientCapabilities=CAP_NET_BIND_SERVICE": "AmbientCapabilities=", "Restart=on-failure": ""}
    strict = replaced(text, taken)
    machine = Machine(tmp_path, strict)
    try:
        assert machine.run("systemctl", "start", "crossfade").returncode != 0
        assert "0.0.0.0:80" in machine.journal()
    finally:
        machine.stop()
