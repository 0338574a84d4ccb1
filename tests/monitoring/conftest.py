"""The stage, and everything that happened on it, once for all tests."""

import time

import pytest
from causes import CAUSES, cause, nothing
from stage import Stage, wait_until

# The longest that an alert waits and looks back is half an hour, which is half a minute here.
PATIENCE = 90
ABSENT = cause("CrossfadeAbsent", nothing, nothing)


@pytest.fixture(scope="session")
def stage(tmp_path_factory):
    running = Stage(tmp_path_factory.mktemp("monitoring"))
    running.seen = set()
    yield running
    running.close()


@pytest.fixture(scope="session")
def scrape(stage):
    """Of a proxy that has all there is: certificates, and a change by command."""
    if "crossfade_override_timestamp_seconds" not in stage.main.scrape():
        stage.main.say("shift", "good", "60%", "--route", "sluggish")
    return stage.main.scrape()


class Story:
    """What fired and what ended, in order; and whatever fired beside."""

    def __init__(self, stage):
        self.stage = stage
        self.fired, self.ended, self.others = set(), set(), []

    def look(self):
        firing = self.stage.prometheus.firing()
        known = (*CAUSES, ABSENT)
        self.fired |= {one for one in known if one.among(firing)} | self.stage.seen
        for labels in firing:
            if not any(one.among([labels]) for one in known) and labels not in self.others:
                self.others.append(labels)
        return firing

    def at_rest(self, firing):
        """None of the alerts fires, and that isn't so for want of scrapes."""
        up = self.stage.prometheus.query('up{job="crossfade"} == 1')
        return len(up) == len(self.stage.targets) and not any(one.among(firing) for one in CAUSES)

    def until(self, done):
        """Looks until it is so, or patience ends: which alerts did not come is for the tests to say."""
        since = time.monotonic()
        while not done(self.look()) and time.monotonic() - since < PATIENCE:
            time.sleep(0.2)


@pytest.fixture(scope="session")
def story(stage, scrape):
    """Nothing to scrape; then all causes, until each alert has fired; then none, until each has ended."""
    story = Story(stage)
    story.until(lambda _: ABSENT in story.fired)
    stage.prometheus.scrapes(stage.targets)
    story.until(lambda firing: not ABSENT.among(firing))
    story.ended |= set() if ABSENT.among(story.look()) else {ABSENT}
    for one in CAUSES:
        one.begin(stage)
    story.until(lambda _: story.fired >= set(CAUSES))
    story.unwell = stage.prometheus.unwell()
    for one in CAUSES:
        one.end(stage)
    story.until(story.at_rest)
    firing = story.look()
    story.ended |= {one for one in CAUSES if not one.among(firing)}
    missed = stage.prometheus.query('max_over_time(up{job="crossfade"}[5s]) == 0')
    story.missed = [labels["instance"] for labels, _ in missed]
    return story
