"""The dashboards and rules of deploy/, read as Grafana reads them: panels, queries, variables, what they ask for.

Used by the tests. It reads files and never asks anybody anything.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
GRAFANA = ROOT / "deploy/grafana"
RULES = ROOT / "deploy/prometheus"
NAMES = ("rollout", "proxy")

# What Grafana replaces in a query without being told by a dashboard.
BUILT_IN = {"__rate_interval", "__interval", "__range"}
VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
# What stands in an expression beside functions and families.
KEYWORDS = {"and", "or", "unless", "bool", "offset"}
GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)")
STRING = re.compile(r'"(?:\\.|[^"\\])*"')
NAME = re.compile(r"(?<![\w.:$])[A-Za-z_:][\w:]*(?![\w:])(?!\s*\()")
LEGEND = re.compile(r"\{\{\s*(\w+)\s*\}\}")
LABEL_VALUES = re.compile(r"label_values\((.+),\s*(\w+)\)")


@dataclass(frozen=True)
class Query:
    """An expression, who asks it, and what its series are called."""

    where: str
    expr: str
    legends: tuple


class Dashboard:
    """One file."""

    def __init__(self, name):
        self.name = name
        self.json = json.loads((GRAFANA / f"dashboards/{name}.json").read_text())
        self.rows = [panel for panel in self.json["panels"] if panel["type"] == "row"]
        self.panels = [panel for panel in self.json["panels"] if panel["type"] != "row"]
        self.variables = self.json["templating"]["list"]

    def targets(self):
        """Every panel with each of its queries."""
        for panel in self.panels:
            for target in panel["targets"]:
                where = f"{self.name}: {panel['title']}: {target['refId']}"
                yield panel, Query(where, target["expr"], (target["legendFormat"],))

    def annotations(self):
        for each in self.json["annotations"]["list"]:
            # Grafana up to 10 asks the one, from 11 on the other.
            assert each["expr"] == each["target"]["expr"], each["name"]
            legends = (each["titleFormat"], each["textFormat"])
            yield Query(f"{self.name}: annotation {each['name']}", each["expr"], legends)

    def definitions(self):
        """Each variable that asks, with the selector and the label of its `label_values`."""
        for each in self.variables:
            if each["type"] == "query":
                selector, label = LABEL_VALUES.fullmatch(each["query"]["query"]).groups()
                yield each, selector, label

    def expressions(self):
        """All that is asked, variables too."""
        yield from (query for _, query in self.targets())
        yield from self.annotations()
        for each, selector, _ in self.definitions():
            yield Query(f"{self.name}: variable {each['name']}", selector, ())


def substituted(text, values):
    """A query as Grafana sends it: a list of several becomes an alternative of regular expressions."""

    def value(match):
        chosen = values[match[1] or match[2]]
        if isinstance(chosen, str):
            return chosen
        escaped = [re.sub(r"([\\^$*+?.()|\[\]{}])", r"\\\\\1", each) for each in chosen]
        return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"

    return VARIABLE.sub(value, text)


def asked(expr):
    """The series that an expression asks for."""
    bare = GROUPING.sub(" ", re.sub(r"\{[^}]*\}|\[[^\]]*\]", "", STRING.sub('""', expr)))
    return {name for name in NAME.findall(bare) if name not in KEYWORDS}


def family(series, families):
    """The family of a series: a histogram has three kinds of them."""
    base = re.sub(r"_(bucket|sum|count)$", "", series)
    return base if families.get(base) == "histogram" else series


def rules():
    """The expressions of deploy/prometheus, where there are any, and the names that it records."""
    groups = [
        group
        for path in sorted(RULES.rglob("*.y*ml"))
        for group in (yaml.safe_load(path.read_text()) or {}).get("groups", [])
    ]
    found = [rule for group in groups for rule in group.get("rules", [])]
    return [str(rule["expr"]) for rule in found], {rule["record"] for rule in found if "record" in rule}
