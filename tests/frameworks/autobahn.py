"""Runs Autobahn's cases twice, straight to a backend and through Crossfade, and compares the verdicts.

`tests/autobahn` calls it for every case, test_autobahn.py for those that take no time. A case that differs is run
again by itself on both ways: some have a deadline of 20 s, which a machine with other work to do misses.
"""

import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from processes import crossfade, websocket_app

# A whole run; a case that hangs is ended by kosoku itself.
DEADLINE = 1500


def verdicts(address, wanted):
    """What kosoku says of each case, as (behaviour, behaviour at the close)."""
    with tempfile.TemporaryDirectory() as folder:
        chosen = [word for case in wanted for word in ("-i", case)]
        command = [str(Path(sys.executable).with_name("kosoku")), address, "-p", "2", "-o", folder, *chosen]
        # Its own exit code is 1 where a case fails, which is for the comparison to judge.
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=DEADLINE, check=False)
        report = json.loads((Path(folder) / "index.json").read_text())
    (cases,) = report.values()
    return {case: (verdict["behavior"], verdict["behaviorClose"]) for case, verdict in cases.items()}


def compare(wanted):
    """The verdicts straight, those through Crossfade, and the cases in which they differ twice."""
    backend = websocket_app("echo")
    try:
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as config:
            config.write(f"""
[server]
http = "127.0.0.1:0"
metrics = "127.0.0.1:0"
[access_log]
target = "off"
[backends.echo]
url = "http://{backend.address}"
[[routes]]
name = "web"
stable = "echo"
""")
            config.flush()
            proxy = crossfade(config.name)
            try:
                straight, through = (verdicts(way.address, wanted) for way in (backend, proxy))
                different = {case for case in straight | through if straight.get(case) != through.get(case)}
                for case in sorted(different):
                    again = [verdicts(way.address, [case]) for way in (backend, proxy)]
                    if again[0] == again[1]:
                        straight |= again[0]
                        through |= again[1]
                        different.discard(case)
            finally:
                proxy.stop()
    finally:
        backend.stop()
    return straight, through, different


def main():
    straight, through, different = compare(sys.argv[1:])
    for way, seen in (("straight", straight), ("through Crossfade", through)):
        counts = Counter(behaviour for behaviour, _ in seen.values())
        print(f"{way}: {len(seen)} cases,", ", ".join(f"{count} {name}" for name, count in counts.most_common()))
    for case in sorted(different):
        print(f"{case}: straight {straight.get(case)}, through Crossfade {through.get(case)}")
    print(f"{len(different)} differ")
    return 1 if different or not straight else 0


if __name__ == "__main__":
    sys.exit(main())
