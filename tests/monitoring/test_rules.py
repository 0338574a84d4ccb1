"""The files of deploy/prometheus as they are shipped: promtool takes them, and what they ask for is there."""

import re
import subprocess

import pytest
import shipped
import yaml


def promtool(*words):
    done = subprocess.run(
        ["promtool", *words], cwd=shipped.FOLDER, capture_output=True, text=True, timeout=120, check=False
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("check", "config", "prometheus.yml"),
        ("check", "rules", "--lint=all", "--lint-fatal", *shipped.RULES),
        *(("test", "rules", name) for name in shipped.TESTS),
    ],
    ids=" ".join,
)
def test_promtool_finds_nothing_wrong(words):
    code, said = promtool(*words)
    assert code == 0, said


def test_the_example_loads_every_file_of_rules():
    loaded = yaml.safe_load((shipped.FOLDER / "prometheus.yml").read_text())["rule_files"]
    assert sorted(loaded) == sorted(shipped.RULES)


def test_everything_that_rules_ask_for_is_exported_by_the_program(scrape):
    series = shipped.exported(scrape)
    problems = {
        f"{who}: {problem}"
        for who, name, matchers in shipped.asked()
        # A name with a colon is recorded by a rule, or by nobody.
        if (problem := shipped.unknown(series, name, matchers))
    }
    assert not problems, "\n".join(sorted(problems))


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("rate(crossfade_nothing_total[5m])", "crossfade_nothing_total is not exported"),
        ("sum by (route) (route:crossfade_nothing:rate5m) > 0", "route:crossfade_nothing:rate5m is not exported"),
        ('crossfade_backend_up{rute="web"}', "crossfade_backend_up has no label rute"),
        ('crossfade_retries_total{reason=~"reset|gone"}', "crossfade_retries_total has no reason gone"),
        ("sum by (nothing) (crossfade_revision) and on (nothing) crossfade_revision > 1 or crossfade_revision", None),
    ],
)
def test_what_is_not_exported_is_found_by_name(scrape, expression, problem):
    series = shipped.exported(scrape)
    found = [shipped.unknown(series, name, matchers) for name, matchers in shipped.selectors(expression)]
    assert set(found) == {problem}


def test_every_alert_says_how_bad_it_is_and_where_to_read_on():
    page = (shipped.DEPLOY / "runbook.md").read_text()
    headings = {found.lower() for found in re.findall(r"^#+ +(\w+)$", page, re.MULTILINE)}
    for rule in shipped.alerts():
        name = rule["alert"]
        assert rule["labels"]["severity"] in ("critical", "warning"), name
        assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}, name
        assert rule["annotations"]["runbook_url"] == f"deploy/runbook.md#{name.lower()}"
        assert name.lower() in headings, f"deploy/runbook.md has no heading {name}"


def test_every_alert_has_a_unit_test_in_which_it_fires_and_one_in_which_it_does_not():
    fires, rests = set(), set()
    for name in shipped.TESTS:
        for test in yaml.safe_load((shipped.FOLDER / name).read_text())["tests"]:
            for case in test.get("alert_rule_test", []):
                for alert in case["exp_alerts"]:
                    fires.add((case["alertname"], alert["exp_labels"]["severity"]))
                if not case["exp_alerts"]:
                    rests.add(case["alertname"])
    shipped_alerts = {(rule["alert"], rule["labels"]["severity"]) for rule in shipped.alerts()}
    assert fires == shipped_alerts
    assert rests == {name for name, _ in shipped_alerts}


def test_quick_rules_differ_from_those_shipped_in_times_alone():
    text = "interval: 15s\nfor: 2m\nexpr: rate(a[5m]) > 7 * 86400 and b5m[1d]"
    assert shipped.quickened(text) == (
        "interval: 250ms\nfor: 2000ms\nexpr: rate(a[5000ms]) > 7 * 86400 and b5m[1440000ms]"
    )
