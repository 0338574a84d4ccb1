"""What makes each alert fire in a running Crossfade, and what ends it.

Used by test_alerts.py, which lets all of them happen together in one Prometheus. Each takes the stage. An alert is
known by its name and by what of its labels tells it from another's.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass

from stage import wait_until

# These fire in the unit tests of deploy/prometheus alone, where time is what the test says.
BY_PROMTOOL_ALONE = {
    "CrossfadeOverrideOld": "a week can't be waited for, and nothing lets an override be older than it is",
    "CrossfadeAcmeFailing": "after a failure the next order waits for one minute, then two, then four",
    "CrossfadePanics": "nothing that a visitor or a backend sends makes the program panic, as far as is known",
}


@dataclass(frozen=True)
class Cause:
    """An alert, with the labels by which it is known here; what makes it fire; what ends it."""

    alert: str
    labels: tuple
    begin: Callable
    end: Callable

    def __str__(self):
        return f"{self.alert}({', '.join(f'{name}={value}' for name, value in self.labels)})"

    def among(self, firing):
        wanted = {("alertname", self.alert), *self.labels}
        return any(wanted <= set(labels.items()) for labels in firing)


def cause(alert, begin, end, **labels):
    return Cause(alert, tuple(labels.items()), begin, end)


def nothing(_stage):
    """Another's cause is this one's, too."""


def app(name, **words):
    def told(stage):
        for word, value in words.items():
            setattr(stage.apps[name], word, value)

    return told


def break_the_file(stage):
    stage.main.write(stage.main.sections + "\nweihgts = 1\n")


def correct_the_file(stage):
    stage.main.write(stage.main.sections)


def bar_the_journal(stage):
    """Permissions don't hold root back; a directory where the file should be does. A change then can't be kept."""
    journal = stage.main.state / "journal"
    journal.unlink()
    journal.mkdir()
    stage.main.say("shift", "leaving", "40%", "--route", "leaving")


def free_the_journal(stage):
    shutil.rmtree(stage.main.state / "journal")


def leave_no_memory(stage):
    """Less than it needs: what it has read it keeps, and it reads 3 MiB."""
    twin = stage.twins[1]
    twin.write('[limits]\nmemory = "8MiB"\n' + twin.sections, before="# " + "x" * (3 << 20))


def give_memory_back(stage):
    twin = stage.twins[1]
    twin.write('[limits]\nmemory = "512MiB"\n' + twin.sections)


def die_and_come_back(stage):
    """Down first, until that is seen; then it is restarted until that is. Of what was never scraped no start is seen."""
    mortal, prometheus = stage.mortal, stage.prometheus
    scraped = f'process_start_time_seconds{{instance="{mortal.metrics}"}}'
    wait_until("a first scrape", lambda: prometheus.query(scraped))
    mortal.stop()
    wait_until("CrossfadeDown", lambda: DOWN.among(prometheus.firing()))
    stage.seen.add(DOWN)
    mortal.start()
    for times in range(1, 5):
        starts = f"changes({scraped}[60s]) >= {times}"
        wait_until(f"{times} starts", lambda: prometheus.query(starts))  # noqa: B023
        # Its time is told in whole seconds: two starts within one look like one.
        before = mortal.started()
        while times < 4 and mortal.started() == before:
            mortal.stop()
            mortal.start()


DOWN = cause("CrossfadeDown", nothing, nothing)

CAUSES = [
    cause("CrossfadeRouteErrors", app("failing", status=500), app("failing", status=200), route="failing"),
    cause(
        "CrossfadeBackendDown",
        lambda stage: stage.apps["leaving"].leave(),
        lambda stage: stage.apps["leaving"].come(),
        backend="leaving",
    ),
    cause("CrossfadeCandidateErrors", nothing, nothing, backend="failing", severity="critical"),
    # What its stable saves is an error of its own.
    cause("CrossfadeCandidateErrors", nothing, nothing, backend="leaving", severity="critical"),
    cause(
        "CrossfadeCandidateErrors",
        app("uneasy", fails_each=60),
        app("uneasy", fails_each=0),
        backend="uneasy",
        severity="warning",
    ),
    cause("CrossfadeCandidateSlow", app("sluggish", delay=0.4), app("sluggish", delay=0.0), backend="sluggish"),
    cause(
        "CrossfadeRollbackNotReady",
        lambda stage: stage.apps["asleep"].leave(),
        lambda stage: stage.apps["asleep"].come(),
        backend="asleep",
    ),
    cause(
        "CrossfadeRollbackUnproved",
        nothing,
        lambda stage: stage.main.say("shift", "good", "50%", "--route", "unseen"),
        backend="unseen",
    ),
    cause("CrossfadeShedding", app("narrow", delay=0.3), app("narrow", delay=0.0), backend="narrow"),
    # Most of its visitors are turned away, and there is nowhere else to go.
    cause("CrossfadeRouteErrors", nothing, nothing, route="narrow"),
    cause("CrossfadeOutOfRoom", leave_no_memory, give_memory_back),
    cause("CrossfadeStateNotKept", bar_the_journal, free_the_journal),
    cause("CrossfadeReloadFailing", break_the_file, correct_the_file),
    cause(
        "CrossfadeProxiesDisagree",
        lambda stage: stage.twins[0].say("shift", "there", "60%"),
        lambda stage: stage.twins[0].say("undo"),
        route="twin",
    ),
    # Both have been there since the start, and so has a pipe that nobody reads.
    cause(
        "CrossfadeCertificateExpiring", nothing, lambda stage: stage.renew(1), name="days-1", severity="critical"
    ),
    cause("CrossfadeCertificateExpiring", nothing, lambda stage: stage.renew(5), name="days-5", severity="warning"),
    cause("CrossfadeAccessLogDropping", nothing, lambda stage: stage.pipe.read()),
    DOWN,
    cause("CrossfadeRestarting", die_and_come_back, nothing),
]
