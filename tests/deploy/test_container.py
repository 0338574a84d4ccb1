"""The image of deploy/docker/Dockerfile, made by its steps in a clean root, started as a container would be, and ended.

Without a daemon: namespaces of its own, a read-only root without a shell, the image's user, loopback alone.
"""

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import container
import pytest
from stage import AS_ROOT, DEPLOY, ROOT, Echo, replaced, until

HERE = Path(__file__).resolve().parent
# How the volume comes: as the image has the directory (Docker, ECS), as root's (Fly.io), or as Kubernetes makes an
# emptyDir for a pod with fsGroup.
OF_THE_IMAGE = "uid=65532,gid=65532,mode=700"
OF_ROOT = "uid=0,gid=0,mode=755"
OF_A_POD = "uid=0,gid=65532,mode=2777"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("image")
    image = container.build(folder)
    # A socket of the file system goes over the border of a network namespace.
    backend = Echo("heroku", folder / "tmp/app.sock")
    yield folder, image
    backend.stop()
    # What is root's, pytest may not be able to remove.
    container.run("rm", "-rf", folder)


class Container:
    """Process 1 of a namespace of its own, on the root."""

    def __init__(self, root, image, env=None, volume=OF_THE_IMAGE):
        given = {"STABLE_URL": "unix:/tmp/app.sock", "CROSSFADE_ADMIN_TOKEN": "only-for-this-test-0123"}
        env = image.env | given | (env or {})
        spaces = ["unshare", "--mount", "--pid", "--net", "--uts", "--ipc", "--fork", "--kill-child"]
        inside = [str(HERE / "inside.sh"), str(root), image.user, volume, *image.volumes, *image.entrypoint, *image.cmd]
        self.env = [f"{name}={value}" for name, value in env.items()]
        path = f"PATH={os.environ['PATH']}:/usr/sbin:/sbin"
        self.image = image
        self.output = (root.parent / f"output-{root.name}").open("w+")
        self.child = subprocess.Popen(
            [*AS_ROOT, "env", "-i", path, *self.env, *spaces, *inside],
            stdin=subprocess.DEVNULL, stdout=self.output, stderr=self.output,
        )  # fmt: skip
        self.pid = self.child.pid
        try:
            self.pid = until("process 1", self._first)
        except BaseException:
            self.end(signal.SIGKILL)
            raise

    def _first(self):
        self._alive()
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if (folder / "comm").read_text().strip() != "crossfade":
                    continue
                if self.child.pid in ancestors(int(folder.name)):
                    return int(folder.name)
            except (FileNotFoundError, ProcessLookupError):
                continue
        return None

    def ready(self):
        until("it serves", lambda: self._alive() and self.answers(9902, "/healthz")[2] == "200")
        return self

    def _alive(self):
        assert self.child.poll() is None, self.said()
        return True

    def said(self):
        self.output.seek(0)
        return self.output.read()

    def within(self, *command, chroot=False):
        """In its network; or, as `docker exec` does, in its root as its user, too."""
        uid, gid = self.image.user.split(":")
        root = ["-p", "-m", f"--root=/proc/{self.pid}/root", "--wd=/", "-S", uid, "-G", gid] if chroot else []
        spaces = ["nsenter", "-t", str(self.pid), "-n"]
        return subprocess.run(
            [*AS_ROOT, "env", "-i", f"PATH={os.environ['PATH']}", *self.env, *spaces, *root, *command],
            capture_output=True, text=True, timeout=30,
        )  # fmt: skip

    def answers(self, port, path):
        done = self.within("curl", "-s", "-m", "5", "-w", " %{http_code}", f"http://127.0.0.1:{port}{path}")
        return done.stdout.rpartition(" ")

    def facts(self):
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return dict(line.split(":\t", 1) for line in lines if ":\t" in line)

    def end(self, which=signal.SIGTERM):
        if self.child.poll() is None:
            subprocess.run([*AS_ROOT, "kill", f"-{which.name}", str(self.pid)], check=False)
        return self.child.wait(timeout=45)


def ancestors(pid):
    found = []
    while pid > 1:
        found.append(pid)
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return found


@pytest.fixture
def running(made):
    root, image = made
    one = Container(root, image)
    try:
        one.ready()
        yield one
    finally:
        one.end(signal.SIGKILL)


def test_it_serves_answers_for_its_health_and_ends_in_order(running):
    assert running.answers(9902, "/readyz")[2] == "200"
    body, _, status = running.answers(8080, "/")
    assert status == "200" and '"name": "heroku"' in body
    health = running.within(*running.image.health, chroot=True)
    assert health.returncode == 0, health.stderr
    begin = time.monotonic()
    assert running.end(signal.Signals[running.image.stop_signal]) == 0, running.said()
    # Nothing was in flight: it doesn't wait for the platform's patience.
    assert time.monotonic() - begin < 10


def test_it_is_nobody_with_no_rights_on_a_root_that_can_not_be_written(running):
    facts = running.facts()
    assert facts["Uid"].split() == ["65532"] * 4 and facts["Gid"].split() == ["65532"] * 4
    assert int(facts["CapEff"], 16) == int(facts["CapPrm"], 16) == 0 and facts["NoNewPrivs"] == "1"
    mounts = {line.split()[1]: line.split()[3] for line in Path(f"/proc/{running.pid}/mounts").read_text().splitlines()}
    assert mounts["/"].startswith("ro") and mounts["/var/lib/crossfade"].startswith("rw")


def test_a_command_in_the_container_changes_the_weights(running):
    done = running.within("/usr/local/bin/crossfade", "shift", "fly", "5%", "--reason", "canary", chroot=True)
    assert done.returncode == 0 and "revision 2" in done.stdout, done.stderr


def test_the_health_check_fails_where_nobody_serves(made):
    """A process of the image that has stopped: the check says so by itself, within the time that the image gives it."""
    root, image = made
    one = Container(root, image)
    try:
        one.ready()
        container.run("kill", "-STOP", str(one.pid))
        asked = subprocess.run(
            [*AS_ROOT, "env", "-i", *one.env, "nsenter", "-t", str(one.pid), "-n", "-m",
             f"--root=/proc/{one.pid}/root", *image.health],
            timeout=5, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert asked.returncode == 1 and "hasn't answered for 3 s" in asked.stderr, asked
    finally:
        one.end(signal.SIGKILL)


def test_there_is_no_shell_and_nothing_but_the_program_of_ours(made):
    root, _ = made
    for shell in ("bin/sh", "bin/bash", "usr/bin/sh", "usr/bin/env"):
        assert not (root / shell).exists()
    assert sorted(path.name for path in (root / "usr/local/bin").iterdir()) == ["crossfade"]


def test_it_runs_for_fly_with_a_volume_of_root(made):
    """Fly.io's target: the volume belongs to root, and so does the process."""
    root, _ = made
    image = container.image(container.stages(container.DOCKERFILE.read_text()), "fly")
    assert image.user == "0:0"
    one = Container(root, image, volume=OF_ROOT)
    try:
        one.ready()
        assert one.within("/usr/local/bin/crossfade", "rollback", chroot=True).returncode == 0
        assert one.end() == 0
    finally:
        one.end(signal.SIGKILL)


def test_it_keeps_its_state_in_what_kubernetes_makes_for_a_pod(made):
    root, image = made
    container.run("install", "-m", "644", DEPLOY / "kubernetes/crossfade.toml", root / "etc/crossfade/pod.toml")
    one = Container(root, image, {"CROSSFADE_CONFIG": "/etc/crossfade/pod.toml"}, OF_A_POD)
    try:
        one.ready()
        done = one.within("/usr/local/bin/crossfade", "shift", "kubernetes", "5%", chroot=True)
        assert done.returncode == 0 and "forget" not in done.stdout + done.stderr, done.stderr
        assert one.end() == 0
    finally:
        one.end(signal.SIGKILL)


def test_a_wrong_configuration_ends_the_container_with_its_name(made):
    root, image = made
    child = None
    try:
        with pytest.raises(AssertionError) as failed:
            child = Container(root, image, {"STABLE_URL": "not an address"})
            child.child.wait(timeout=20)
            assert child.child.returncode == 0, child.said()
        assert "STABLE_URL" in str(failed.value) or "url" in str(failed.value)
    finally:
        assert child is None or child.child.poll() is not None


def test_an_unknown_instruction_is_named():
    with pytest.raises(ValueError, match="STOPSIGN"):
        container.stages(container.DOCKERFILE.read_text().replace("STOPSIGNAL", "STOPSIGN"))


def test_each_platform_builds_its_own_configuration_in():
    for path in DEPLOY.rglob("crossfade.toml"):
        given = {"CONFIG=deploy/docker/crossfade.toml": f"CONFIG={path.relative_to(ROOT)}"}
        copies = container.image(container.stages(replaced(container.DOCKERFILE.read_text(), given)), "final").copies
        assert f"{path.relative_to(ROOT)} /etc/crossfade/crossfade.toml" in copies


def test_the_build_gets_all_that_cargo_needs_and_no_more(tmp_path):
    context, source = tmp_path / "context", tmp_path / "src"
    container.context(context)
    source.mkdir()
    container.built_from(source, context)
    assert taken_by_cargo(source) == ""
    shutil.rmtree(source / "benches")
    assert "bench" in taken_by_cargo(source)
    assert not (context / "tests").exists() and not (context / "target").exists()
    for path in DEPLOY.rglob("crossfade.toml"):
        assert (context / path.relative_to(ROOT)).is_file()


def taken_by_cargo(folder):
    """What cargo has against a package before it compiles anything: a missing file, another Cargo.lock."""
    host = subprocess.run(["rustc", "-vV"], capture_output=True, text=True, check=True).stdout
    target = re.search(r"^host: (.*)$", host, re.M).group(1)
    done = subprocess.run(
        ["cargo", "fetch", "--locked", "--offline", "--target", target],
        cwd=folder, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    return done.stderr if done.returncode else ""


def test_both_stages_are_of_one_debian_and_the_rust_that_is_asked_for():
    rust, debian, final = container.versions()
    assert rust == container.rust_wanted()
    assert {"bookworm": "12", "trixie": "13"}[debian] == final
