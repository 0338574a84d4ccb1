"""Every query of a dashboard, asked of a real Prometheus as Grafana asks it, answers with what has happened."""

import itertools

import pytest
from dashboard import BUILT_IN, LEGEND, NAMES, VARIABLE, Dashboard, substituted

# What may stay at zero through the play; everything else has to move.
STILL = {
    "proxy: Last one ordered: A",  # tests/acme orders; here no authority is asked
    "proxy: Log lines dropped: A",  # a target too slow for this little
    "proxy: Memory: A",  # enough
    "proxy: Orders that failed: A",
    "proxy: Panics: A",  # a defect
    "proxy: Processor: A",  # counted in whole seconds, and there may be less than one
    "rollout: Ejections and failed probes: ejections-stable",  # never its last endpoint
    "rollout: Ejections and failed probes: probes-stable",  # stable has no health path
}


class Grafana:
    """Fills variables as a dashboard that was just opened does, one after the other."""

    def __init__(self, play):
        self.play = play
        took = play.span[1] - play.span[0]
        # Four times the scrape's interval, as for any step below that.
        self.built_in = {"__interval": "1s", "__rate_interval": "4s", "__range": f"{took:.0f}s"}
        assert set(self.built_in) == BUILT_IN

    def values(self, dashboard, **chosen):
        """Each variable's value: `chosen`, all of them, the one that the file says, or the first."""
        values = dict(self.built_in)
        for variable, selector, label in dashboard.definitions():
            options = self.options(values, selector, label)
            name, current = variable["name"], variable.get("current", {}).get("value")
            default = options if variable["includeAll"] else current if current in options else options[0]
            values[name] = chosen.get(name, default)
        return values

    def options(self, values, selector, label):
        found = self.play.prometheus.values_of(self.play.span, label, substituted(selector, values))
        assert found, f"no values of {label} in {selector}"
        return found

    def answers(self, query, values):
        """Its series that have a number."""
        expr = substituted(query.expr, values)
        return [(labels, found) for labels, found in self.play.prometheus.between(self.play.span, expr) if found]


@pytest.fixture(scope="session")
def grafana(play):
    return Grafana(play)


TARGETS = {query.where: (Dashboard(name), panel, query) for name in NAMES for panel, query in Dashboard(name).targets()}
ANNOTATIONS = {query.where: (Dashboard(name), query) for name in NAMES for query in Dashboard(name).annotations()}


@pytest.mark.parametrize("where", TARGETS)
def test_a_panel_is_answered(grafana, where):
    dashboard, _, query = TARGETS[where]
    found = grafana.answers(query, grafana.values(dashboard))
    assert found, f"no data: {query.expr}"
    moved = any(number for _, numbers in found for number in numbers)
    assert moved or where in STILL, f"zero all the time: {query.expr}"


@pytest.mark.parametrize("where", [where for where in TARGETS if where.startswith("rollout") and "Retr" not in where])
def test_a_panel_is_answered_for_one_route(grafana, where):
    dashboard, _, query = TARGETS[where]
    assert grafana.answers(query, grafana.values(dashboard, route=["api"])), f"no data: {query.expr}"


@pytest.mark.parametrize("where", ANNOTATIONS)
def test_an_annotation_marks_some_moments_and_not_all(grafana, where):
    dashboard, query = ANNOTATIONS[where]
    found = grafana.answers(query, grafana.values(dashboard))
    assert found, f"no data: {query.expr}"
    everywhere = max(len(numbers) for _, numbers in grafana.play.prometheus.between(grafana.play.span, "vector(1)"))
    assert all(len(numbers) < everywhere / 2 for _, numbers in found)


def test_weight_changes_say_what_the_weight_is(grafana):
    dashboard, query = ANNOTATIONS["rollout: annotation Weight changes"]
    found = grafana.answers(query, grafana.values(dashboard, route=["web"]))
    said = {rendered(query.legends[1], labels) for labels, _ in found}
    assert said == {"fly gets 10 %", "fly gets 50 %", "fly gets 90 %"}


def test_variables_offer_what_the_proxy_has(grafana):
    rollout, proxy = (grafana.values(Dashboard(name)) for name in NAMES)
    assert rollout["route"] == ["api", "small", "web"]
    assert (rollout["stable"], rollout["candidate"]) == ("heroku", "fly")
    assert proxy["backend"] == ["fly", "heroku", "small"]
    assert proxy["instance"] == [grafana.play.stage.metrics]


@pytest.mark.parametrize("name", NAMES)
def test_series_of_a_panel_have_names_of_their_own(grafana, name):
    """What a legend names is a label that the series have; no two of a panel are called the same."""
    dashboard = Dashboard(name)
    values = grafana.values(dashboard)
    for title, of_panel in itertools.groupby(dashboard.targets(), lambda pair: pair[0]["title"]):
        names = []
        for _, query in of_panel:
            for labels, _ in grafana.answers(query, values):
                missing = set(LEGEND.findall(query.legends[0])) - set(labels)
                assert not missing, f"{query.where}: no label {missing} in {labels}"
                names.append(rendered(substituted(query.legends[0], values), labels))
        assert len(names) == len(set(names)), f"{title}: {sorted(names)}"


@pytest.mark.parametrize("name", NAMES)
def test_every_variable_in_a_query_is_defined(name):
    dashboard = Dashboard(name)
    defined = {variable["name"] for variable in dashboard.variables} | BUILT_IN
    for query in dashboard.expressions():
        named = {a or b for text in (query.expr, *query.legends) for a, b in VARIABLE.findall(text)}
        assert named <= defined, f"{query.where}: {named - defined}"


def rendered(legend, labels):
    return LEGEND.sub(lambda match: labels.get(match[1], ""), legend)
