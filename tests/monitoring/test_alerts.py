"""Every alert, in a real Prometheus that scrapes running proxies: it fires when its cause happens, and ends with it.

All causes happen together, in one Prometheus, by the files that are shipped with their times divided by sixty. What
can't be made to happen is named in causes.py, with the reason.
"""

import pytest
import shipped
from causes import BY_PROMTOOL_ALONE, CAUSES
from conftest import ABSENT

ALL = [*CAUSES, ABSENT]


@pytest.mark.parametrize("cause", ALL, ids=str)
def test_it_fires_when_its_cause_happens(story, cause):
    assert cause in story.fired


@pytest.mark.parametrize("cause", ALL, ids=str)
def test_it_ends_when_its_cause_does(story, cause):
    assert cause in story.fired & story.ended


def test_nothing_else_fires(story):
    assert story.others == []


def test_no_rule_fails_and_every_proxy_is_scraped_at_the_end(story):
    assert (story.unwell, story.missed) == ([], [])


def test_no_alert_is_without_a_cause():
    caused = {cause.alert for cause in ALL}
    assert caused | set(BY_PROMTOOL_ALONE) == {rule["alert"] for rule in shipped.alerts()}
    assert not caused & set(BY_PROMTOOL_ALONE)
