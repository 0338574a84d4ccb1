"""Dashboards and families fit: nobody asks for what isn't exported, nothing exported goes unused by accident."""

import re
from pathlib import Path

import pytest
from dashboard import NAMES, ROOT, Dashboard, asked, family, rules

UNUSED = Path(__file__).with_name("unused.txt")
# What Prometheus makes itself of what it scrapes.
OWN = {"up", "ALERTS"}
# A family's name where the program says it: the whole of a string.
NAMED = re.compile(r'"(crossfade_[a-z_]+)"')


def unused():
    lines = [line for line in UNUSED.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split(": ", 1) for line in lines)


def named():
    """The families that the program's source names: those of tests and readers are among them."""
    files = ("families", "process", "orders", "loads", "metrics")
    return {name for file in files for name in NAMED.findall((ROOT / f"src/telemetry/{file}.rs").read_text())}


@pytest.fixture(scope="session")
def exported(play):
    """Every family of a scrape with its kind."""
    return dict(re.findall(r"^# TYPE (\S+) (\S+)$", play.stage.exposition(), re.MULTILINE))


@pytest.fixture(scope="session")
def used(exported):
    """Every family that dashboards and rules ask for, with who does."""
    expressions = [(query.where, query.expr) for name in NAMES for query in Dashboard(name).expressions()]
    recorded, own = rules()
    expressions += [("a rule", expr) for expr in recorded]
    found = {}
    for where, expr in expressions:
        for series in asked(expr) - own - OWN:
            found.setdefault(family(series, exported), where)
    return found


def test_the_play_makes_every_family_that_the_source_names(exported):
    missing = named() - set(exported)
    assert not missing, f"named in src/telemetry, not in the scrape: {sorted(missing)}"


def test_nobody_asks_for_a_family_that_is_not_exported(exported, used):
    wrong = {name: where for name, where in used.items() if name not in exported}
    assert not wrong, f"asked for, not exported: {wrong}"


def test_every_family_is_used_or_has_a_reason(exported, used):
    forgotten = set(exported) - set(used) - set(unused())
    assert not forgotten, f"exported, in no dashboard and no rule, without a reason in unused.txt: {sorted(forgotten)}"


def test_a_reason_is_of_a_family_that_is_exported_and_unused(exported, used):
    stale = {name for name in unused() if name in used or name not in exported}
    assert not stale, f"in unused.txt, but used or not exported: {sorted(stale)}"
    assert all(unused().values())


@pytest.mark.parametrize(
    ("expr", "series"),
    [
        ('sum by (backend, le) (rate(a_bucket{code=~"5..",x!="b_total"}[5m] offset 1h)) > 1e-9', {"a_bucket"}),
        ("a * on (route) group_left (mode) b or avg without (x) (c) unless bool_total", {"a", "b", "c", "bool_total"}),
        ('count_values by (r) ("percent", round(100 * a:b, 0.01) and changes(c[$__rate_interval]) > 0)', {"a:b", "c"}),
        ("(min by (name) (a) - time()) / 86400", {"a"}),
    ],
)
def test_the_series_of_an_expression_are_found(expr, series):
    assert asked(expr) == series
