"""The machine: its cores, what processes use of it, and servers that are started on it and ended.

Called by the benches; each server belongs to whoever started it. It must never end a process that it didn't start, and
never wait without a bound.
"""

import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

CORES = sorted(os.sched_getaffinity(0))
PROXY_CORE, LOAD_CORE = CORES[0], CORES[-1]
TICK = os.sysconf("SC_CLK_TCK")
START_DEADLINE = 20.0
FILES = 65536
# Beyond this the kernel's exact count missed threads that ended, and the coarse one is the better.
COARSE = 0.05


class DidNotStart(Exception):
    """A server that didn't, with what it said."""


def settle_down():
    """Puts this process, and what it starts, on the core of the load, with as many open files as it may have."""
    os.sched_setaffinity(0, {LOAD_CORE})
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for limit in (max(hard, FILES), hard):
        try:
            return resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        except (ValueError, OSError):
            continue  # Only root may have more than the hard limit.


def free_ports(count):
    """Ports that nobody had a moment ago, below those that the kernel gives to visitors where it can be."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports


def connects(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    except OSError:
        return False


class Server:
    """A server on its core, with the CPU time and the memory of all its processes."""

    def __init__(self, name, core, command, port, env=None, ready=connects, pause=0.005):
        self.name, self.port = name, port
        self.cores = set(core) if isinstance(core, (set, list, tuple)) else {int(core)}
        self._said = tempfile.TemporaryFile()
        here = os.sched_getaffinity(0)
        # The child inherits it: nothing stands between this moment and its exec.
        os.sched_setaffinity(0, self.cores)
        self.begun = time.perf_counter()
        try:
            self._child = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=self._said,
                stderr=self._said,
                env={**os.environ, **(env or {})},
                start_new_session=True,
            )
        finally:
            os.sched_setaffinity(0, here)
        self._wait_for(ready, pause)

    def _wait_for(self, ready, pause):
        end = time.monotonic() + START_DEADLINE
        while self._child.poll() is None and time.monotonic() < end:
            if ready(self.port):
                self.ready_after = time.perf_counter() - self.begun
                return
            time.sleep(pause)
        self.stop()
        raise DidNotStart(f"{self.name} did not start; it said:\n{self.said()}")

    def said(self):
        """The end of what it wrote."""
        self._said.seek(0)
        return self._said.read()[-2000:].decode(errors="replace")

    def signal(self, number):
        self._child.send_signal(number)

    def reading(self):
        """What `used` takes the difference of."""
        threads, ticks = {}, 0
        for pid in family(self._child.pid):
            try:
                fields = stat(pid)
                ticks += int(fields[11]) + int(fields[12])
                for task in Path(f"/proc/{pid}/task").iterdir():
                    threads[task.name] = int((task / "schedstat").read_text().split()[0])
            except (OSError, ProcessLookupError):
                continue  # It ended while we looked.
        return Reading(threads, ticks / TICK)

    def memory(self):
        """Resident bytes; what several processes of it share counts once."""
        sizes = [resident(pid) for pid in family(self._child.pid)]
        largest = max(sizes, key=lambda size: size[0], default=(0, 0))
        return largest[0] + sum(private for _, private in sizes) - largest[1]

    def stop(self):
        if self._child.poll() is None:
            self._child.terminate()
        try:
            self._child.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()


@dataclass
class Reading:
    """CPU time so far: of each thread in nanoseconds, of all in seconds by the tick."""

    threads: dict
    seconds: float


def used(before, after):
    """Seconds of user and system time between two readings, all threads of all processes."""
    exact = sum(time - before.threads.get(thread, 0) for thread, time in after.threads.items()) / 1e9
    coarse = after.seconds - before.seconds
    return coarse if coarse - exact > COARSE else exact


def stat(pid):
    """The fields of /proc/PID/stat behind the name, which may itself hold blanks: state, ppid, …"""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def family(root):
    """A process and all below it."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int(stat(entry.name)[1])
            except (OSError, ProcessLookupError):
                continue
    found, more = set(), {root}
    while more:
        found |= more
        more = {pid for pid, parent in parents.items() if parent in found} - found
    return found


def resident(pid):
    """Resident bytes of a process, and those of them that nobody shares."""
    sizes = {"Rss:": 0, "Private_Clean:": 0, "Private_Dirty:": 0}
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            word, *rest = line.split()
            if word in sizes:
                sizes[word] = int(rest[0]) * 1024
    except OSError:
        pass  # It ended while we looked.
    return sizes["Rss:"], sizes["Private_Clean:"] + sizes["Private_Dirty:"]


def busy(core):
    """Seconds that a core was not idle so far, the host's own use of it included."""
    for line in Path("/proc/stat").read_text().splitlines():
        words = line.split()
        if words[0] == f"cpu{core}":
            user, nice, system, _idle, _wait, irq, softirq, steal = (int(word) for word in words[1:9])
            return (user + nice + system + irq + softirq + steal) / TICK
    return 0.0


def described():
    """The machine in a line."""
    models = [line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
              if line.startswith("model name")]
    memory = int(Path("/proc/meminfo").read_text().split()[1]) / 1024 / 1024
    kernel = os.uname().release
    load = Path("/proc/loadavg").read_text().split()[0]
    return (f"{models[0] if models else os.uname().machine}, {len(CORES)} cores, {memory:.1f} GiB, Linux {kernel}, "
            f"load {load}; proxy on core {PROXY_CORE}, load and backends on core {LOAD_CORE}")


def need_two_cores():
    if len(CORES) < 2:
        sys.exit("two cores are needed, one for the proxy and one for the load")
