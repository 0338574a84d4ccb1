"""The dashboards and their provisioning are what Grafana takes, and what a person can read."""

import copy
import itertools
import re

import pytest
import yaml
from dashboard import GRAFANA, NAMES, Dashboard
from schema import COLOUR_MODES, UNITS, unknown

KINDS = {"timeseries", "stat", "bargauge", "heatmap", "state-timeline"}
COLUMNS = 24
# https://grafana.com/docs/grafana/latest/administration/provisioning/
PROVIDER = {"name", "folder", "type", "disableDeletion", "updateIntervalSeconds", "allowUiUpdates", "options"}
DATASOURCE = {"name", "uid", "type", "access", "url", "isDefault", "editable", "jsonData"}


def test_grafana_knows_all_of_it(dashboard):
    assert unknown(dashboard.json) == []


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda panel: panel.update(titel="x"), ".titel: unknown"),
        (lambda panel: panel["options"].update(graphmode="none"), "options.graphmode: unknown"),
        (lambda panel: panel["options"].update(graphMode="lines"), "'lines'"),
        (lambda panel: panel["targets"][0].update(expression="up"), "expression: unknown"),
        (lambda panel: panel["gridPos"].update(w="4"), "'4'"),
        (lambda panel: panel["fieldConfig"]["defaults"].update(decimals="two"), "'two'"),
    ],
)
def test_what_grafana_does_not_know_is_named(change, named):
    broken = copy.deepcopy(Dashboard("rollout").json)
    assert broken["panels"][0]["type"] == "stat"
    change(broken["panels"][0])
    assert any(named in problem for problem in unknown(broken)), unknown(broken)


def test_it_is_provisionable(dashboard):
    """An export for sharing asks for its data source; one that is provisioned has a variable."""
    assert not {"__inputs", "__requires", "__elements", "id"} & set(dashboard.json)
    assert dashboard.json["uid"] == f"crossfade-{dashboard.name}"
    (first,) = [variable for variable in dashboard.variables if variable["type"] == "datasource"]
    assert first is dashboard.variables[0] and first["query"] == "prometheus"
    asking = [*dashboard.panels, *dashboard.variables[1:], *dashboard.json["annotations"]["list"]]
    for each in asking:
        assert each["datasource"] == {"type": "prometheus", "uid": f"${{{first['name']}}}"}


def test_ids_and_names_are_unique(dashboard):
    ids = [panel["id"] for panel in dashboard.json["panels"]]
    assert len(ids) == len(set(ids))
    variables = [variable["name"] for variable in dashboard.variables]
    assert len(variables) == len(set(variables))
    for panel in dashboard.panels:
        refs = [target["refId"] for target in panel["targets"]]
        assert refs and all(refs) and len(refs) == len(set(refs)), panel["title"]


def test_panels_lie_within_the_columns_and_beside_each_other(dashboard):
    taken = {}
    for panel in dashboard.json["panels"]:
        at = panel["gridPos"]
        assert at["x"] >= 0 and at["w"] > 0 and at["h"] > 0 and at["x"] + at["w"] <= COLUMNS, panel["title"]
        cells = itertools.product(range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"]))
        for cell in cells:
            assert cell not in taken, f"{panel['title']} lies over {taken[cell]}"
            taken[cell] = panel["title"]


def test_every_panel_says_what_it_shows(dashboard):
    for panel in dashboard.panels:
        defaults = panel["fieldConfig"]["defaults"]
        assert panel["title"] and panel["type"] in KINDS
        assert re.fullmatch(r"[A-Z].{30,200}\.", panel["description"]), panel["title"]
        assert defaults["unit"] in UNITS, f"{panel['title']}: {defaults['unit']}"
        assert defaults.get("color", {"mode": "fixed"})["mode"] in COLOUR_MODES, panel["title"]
        assert all(target["legendFormat"] for target in panel["targets"]), panel["title"]
    titles = [(panel["title"], panel["type"]) for panel in dashboard.panels]
    assert len(titles) == len(set(titles))


def test_overrides_are_of_queries_that_are_there(dashboard):
    for panel in dashboard.panels:
        refs = {target["refId"] for target in panel["targets"]}
        for override in panel["fieldConfig"]["overrides"]:
            if override["matcher"]["id"] == "byFrameRefID":
                assert override["matcher"]["options"] in refs, panel["title"]


def test_stable_is_blue_and_the_candidate_orange():
    """Wherever a query is of one side alone and lines have colours of their own."""
    for panel in Dashboard("rollout").panels:
        if panel["type"] != "timeseries":
            continue
        colours = {
            override["matcher"]["options"]: change["value"]["fixedColor"]
            for override in panel["fieldConfig"]["overrides"]
            for change in override["properties"]
            if change["id"] == "color"
        }
        for target in panel["targets"]:
            side = [name for name in ("stable", "candidate") if target["refId"].endswith(name)]
            if side:
                wanted = {"stable": "blue", "candidate": "orange"}[side[0]]
                assert colours.get(target["refId"]) == wanted, f"{panel['title']}: {target['refId']}"


def test_only_rates_ask_for_the_interval_that_grafana_chooses(dashboard):
    """A range that is fixed misses scrapes on a long view, and finds none with a longer interval."""
    for query in dashboard.expressions():
        ranges = set(re.findall(r"\[([^\]]*)\]", query.expr))
        assert ranges <= {"$__rate_interval", "$__range"}, query.where


def test_provisioning_names_a_prometheus_and_the_dashboards():
    (sources,) = (GRAFANA / "provisioning/datasources").glob("*.yml")
    sources = yaml.safe_load(sources.read_text())
    (source,) = sources.pop("datasources")
    assert sources == {"apiVersion": 1} and set(source) <= DATASOURCE
    assert (source["type"], source["access"], source["isDefault"]) == ("prometheus", "proxy", True)

    (providers,) = (GRAFANA / "provisioning/dashboards").glob("*.yml")
    providers = yaml.safe_load(providers.read_text())
    (provider,) = providers.pop("providers")
    assert providers == {"apiVersion": 1} and set(provider) <= PROVIDER
    assert provider["type"] == "file" and provider["options"]["path"] == "/var/lib/grafana/dashboards"
    assert sorted(path.stem for path in (GRAFANA / "dashboards").iterdir()) == sorted(NAMES)
