"""What deploy/prometheus ships, read as text and as rules; and made quick, so that minutes pass in seconds.

Used by conftest.py and the tests. It must never change a rule but for its times: an expression or a threshold that is
tested is the one that is shipped.
"""

import re

import yaml
from processes import ROOT

DEPLOY = ROOT / "deploy"
FOLDER = DEPLOY / "prometheus"
RULES = ("crossfade.rules.yml", "alerts.yml")
TESTS = ("tests.yml", "alerts.tests.yml", "rollout.tests.yml", "limits.tests.yml")
# Prometheus makes these itself: a series, and labels of every series.
ITS_OWN = {"up", "ALERTS"}
OF_TARGETS = {"job", "instance"}
# A minute passes in a second.
PACE = 60

WORDS = {"and", "or", "unless", "bool", "offset"}
LABEL_LISTS = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)")
RANGES = re.compile(r"\[[^\]]*\]")
SELECTOR = re.compile(r"(?<![\w:.])([A-Za-z_:][\w:]*)\s*(\{[^}]*\})?\s*(\()?")
MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
DURATION = re.compile(r"(\[|\b(?:for|interval): )(\d+)([smhd])\b")
MILLIS = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def rules():
    """Every rule, with the file that it is in."""
    for name in RULES:
        for group in yaml.safe_load((FOLDER / name).read_text())["groups"]:
            for rule in group["rules"]:
                yield name, rule


def alerts():
    return [rule for _, rule in rules() if "alert" in rule]


def selectors(expression):
    """Each name of a series in an expression, with the matchers behind it."""
    plain = RANGES.sub("", LABEL_LISTS.sub("", expression))
    for name, matchers, call in SELECTOR.findall(plain):
        if not call and name not in WORDS:
            yield name, MATCHER.findall(matchers)


def asked():
    """What the rules ask Crossfade for: who asks, the name and its matchers."""
    recorded = {rule["record"] for _, rule in rules() if "record" in rule}
    for file, rule in rules():
        for name, matchers in selectors(rule["expr"]):
            if name not in recorded and name not in ITS_OWN:
                yield f"{file}: {rule.get('alert') or rule['record']}", name, matchers


def exported(text):
    """The series of a scrape: the names, each with the labels of its samples."""
    series = {}
    for line in text.splitlines():
        found = re.match(r"([A-Za-z_:][\w:]*)(?:\{(.*)\})? \S+$", line)
        if found:
            series.setdefault(found[1], []).append(dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', found[2] or "")))
    return series


def unknown(series, name, matchers):
    """What of a selector finds nothing in these series, in words; None where all of it finds something."""
    if name not in series:
        return f"{name} is not exported"
    for label, operator, value in matchers:
        if label in OF_TARGETS:
            continue
        values = {labels[label] for labels in series[name] if label in labels}
        if not values:
            return f"{name} has no label {label}"
        for wanted in value.split("|") if operator == "=~" else [value] if operator == "=" else []:
            if not any(re.fullmatch(wanted, one) for one in values):
                return f"{name} has no {label} {wanted}"
    return None


def quickened(text):
    """The rules with each time that they wait, look back or pause for divided by the pace."""
    return DURATION.sub(lambda found: f"{found[1]}{int(found[2]) * MILLIS[found[3]] // PACE}ms", text)
