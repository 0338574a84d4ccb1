"""A ConfigMap's change as the kubelet makes it, replayed under a running proxy: taken or refused, and no visitor fails.

The kubelet writes the new version into a directory of its own, puts the symlink `..data` to it in the place of the old
one, and removes the old directory; the file is a symlink through `..data`. Nothing is ever written to the file itself.
"""

import os
import shutil
import threading
import time
from http.client import HTTPConnection

import pytest
from stage import DEADLINE, DEPLOY, Echo, Proxy, replaced, until


class ConfigMap:
    """The directory that a pod sees."""

    def __init__(self, folder, text):
        self.folder, self.version = folder, 0
        folder.mkdir()
        self.put(text)
        (folder / "crossfade.toml").symlink_to("..data/crossfade.toml")
        self.file = folder / "crossfade.toml"

    def put(self, text):
        self.version += 1
        new = self.folder / f"..2026_11_22_09_00_00.{self.version:010}"
        new.mkdir()
        (new / "crossfade.toml").write_text(text)
        data, fresh = self.folder / "..data", self.folder / "..data_tmp"
        old = os.readlink(data) if data.is_symlink() else None
        fresh.symlink_to(new.name)
        os.rename(fresh, data)
        if old:
            shutil.rmtree(self.folder / old)


class Visitors:
    """A few on connections of their own, a request every few milliseconds each; who answered, and what went wrong."""

    def __init__(self, address, count=3):
        self.address, self.answers, self.failures = address, [], []
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._visit, daemon=True) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def _visit(self):
        host, port = self.address.rsplit(":", 1)
        connection = HTTPConnection(host, int(port), timeout=DEADLINE)
        while not self._over.wait(0.01):
            try:
                connection.request("GET", "/", headers={"Host": "www.example.com"})
                answer = connection.getresponse()
                body = answer.read().decode()
                if answer.status == 200:
                    self.answers.append(body.split('"')[3])
                else:
                    self.failures.append(answer.status)
            except OSError as error:
                self.failures.append(repr(error))
                connection.close()

    def next(self, count=30):
        """Who answers the requests from now on."""
        begin = len(self.answers)
        until(f"{count} answers", lambda: len(self.answers) >= begin + count or self.failures)
        return set(self.answers[begin + len(self._threads):])

    def stop(self):
        self._over.set()
        for thread in self._threads:
            thread.join(DEADLINE)


@pytest.fixture
def pod(tmp_path):
    backends = [Echo("heroku"), Echo("kubernetes")]
    shipped = replaced(
        (DEPLOY / "kubernetes/crossfade.toml").read_text(),
        {'"0.0.0.0:8080"': '"127.0.0.1:0"', '"0.0.0.0:9902"': '"127.0.0.1:0"',
         '"/var/lib/crossfade/state"': f'"{tmp_path}/state"'},
    )  # fmt: skip
    configmap = ConfigMap(tmp_path / "etc", shipped)
    proxy = Proxy(configmap.file, {"STABLE_URL": backends[0].url, "CANDIDATE_URL": backends[1].url})
    visitors = Visitors(proxy.address)
    yield configmap, shipped, proxy, visitors
    visitors.stop()
    assert proxy.stop() == 0
    for backend in backends:
        backend.stop()


ALL_NEW = {"weights = { heroku = 100, kubernetes = 0 }": "weights = { heroku = 0, kubernetes = 100 }"}


def test_a_new_version_is_taken_and_nobody_fails(pod):
    configmap, shipped, proxy, visitors = pod
    assert visitors.next() == {"heroku"}
    before = proxy.metric("crossfade_revision")
    for round in range(3):
        begin = time.monotonic()
        configmap.put(replaced(shipped, ALL_NEW))
        until("the new weights", lambda: visitors.next(10) == {"kubernetes"})
        assert time.monotonic() - begin < 10
        configmap.put(shipped)
        until("the old weights", lambda: visitors.next(10) == {"heroku"})
    assert proxy.metric("crossfade_revision") == before + 6
    assert visitors.failures == []


BROKEN = {"empty": "", "unknown key": "[server]\nhttpp = 1\n", "no TOML": "weights = {"}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_a_broken_version_is_refused_and_nobody_fails(pod, broken):
    configmap, shipped, proxy, visitors = pod
    assert visitors.next() == {"heroku"}
    revision = proxy.metric("crossfade_revision")
    configmap.put(broken)
    until("the refusal", lambda: proxy.metric("crossfade_config_last_reload_successful") == 0)
    assert visitors.next() == {"heroku"} and proxy.metric("crossfade_revision") == revision
    configmap.put(replaced(shipped, ALL_NEW))
    until("the new weights", lambda: visitors.next(10) == {"kubernetes"})
    assert proxy.metric("crossfade_config_last_reload_successful") == 1
    assert visitors.failures == []


def test_a_failure_would_be_seen(pod):
    """What the other tests rely on: a proxy that goes away is noticed by its visitors."""
    _, _, proxy, visitors = pod
    assert visitors.next() == {"heroku"}
    proxy.stop()
    until("a failure", lambda: visitors.failures)
