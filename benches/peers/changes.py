"""Changes of weights: how long until they are live, and what they break under load.

Called by the scenario `weights`. It must never change the weights again before the change before is seen, except under
load, where the pause is fixed for all.
"""

import subprocess
import time

from load import Visitor, Void, wrk_result

QUIET = 20
SEEN_BOUND = 5.0
PAUSE = 0.15
EITHER = [(0, 100), (100, 0)]
SIDES = ["candidate", "stable"]


def delays(server, changer):
    """Milliseconds from the command to the end of the first answer by the new weights, on a quiet proxy."""
    visitor, times = Visitor(server.port), []
    if visitor.side() != "stable":
        raise Void("with everything on stable another backend answers")
    for number in range(QUIET):
        weights, side = EITHER[number % 2], SIDES[number % 2]
        start = time.perf_counter()
        changer.ask(weights)
        while visitor.side() != side:
            if time.perf_counter() - start > SEEN_BOUND:
                raise Void(f"the new weights were not live after {SEEN_BOUND:.0f} s")
        times.append((time.perf_counter() - start) * 1000)
        changer.settle()
        # What a reload leaves behind, old workers above all, ends before the next begins.
        time.sleep(0.1)
    visitor.close()
    return times


def failures(bench, server, changer):
    """Requests that failed while the weights changed so many times under load, and how many changes that were."""
    count = bench.arguments.changes
    seconds = int(count * PAUSE) + 3
    command = bench.loader.wrk_command(f"http://127.0.0.1:{server.port}/", seconds)
    load = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    try:
        time.sleep(0.5)
        for number in range(count):
            due = time.monotonic() + PAUSE
            changer.ask([(90, 10), (10, 90)][number % 2])
            changer.settle()
            time.sleep(max(0.0, due - time.monotonic()))
        said, _ = load.communicate(timeout=seconds + 30)
    except subprocess.TimeoutExpired:
        raise Void("wrk did not end in time") from None
    finally:
        load.kill()
        load.wait()
    done, _, _ = wrk_result(said)
    return done.failed, count
