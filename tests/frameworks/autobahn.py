"""Runs Autobahn's cases twice, straight to a backend and through Crossfade, and compares the verdicts.

`tests/autobahn` calls it for every case, test_autobahn.py for those that take no time. A case that differs is run
again by itself on both ways, until one verdict has been seen on both: some cases have a deadline of 20 s, which a
machine with other work to do misses; in others (4.1.4) it is a race, without us too, whether an echo comes before the
close, which makes the verdict OK or NON-STRICT.
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
# A case that differs in truth does so every time.
TRIES = 6


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


def seen_again(case, straight, through, backend, proxy):
    """A verdict that a case gets on both ways, within a few more tries; None where there is none."""
    for _ in range(TRIES):
        straight.append(verdicts(backend.address, [case]).get(case))
        through.append(verdicts(proxy.address, [case]).get(case))
        both = [verdict for verdict in straight if verdict in through]
        if both:
            return both[0]
    return None


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
                    both = seen_again(case, [straight.get(case)], [through.get(case)], backend, proxy)
                    if both:
                        straight[case] = through[case] = both
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
