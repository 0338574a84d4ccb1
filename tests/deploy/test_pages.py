"""What the pages of deploy/ say is so: commands are understood, links lead somewhere, panels, alerts and names exist.

What the runbook's commands do is shown by test_runbook.py. Nothing here starts a proxy, or reaches one that runs.
"""

import json
import os
import re
import subprocess

import pytest
import yaml
from pages import CODE, FENCE, LINK, PAGES, RUNBOOK, anchor, blocks, commands, headings, panels, prose, section
from processes import binary
from stage import DEPLOY, ROOT, name_of

# Each is checked by some test, here or in test_runbook.py, but ruby and elixir, which nothing here can run.
LANGUAGES = {"sh", "toml", "python", "js", "ruby", "elixir"}
ADMIN = re.compile(r"http://[^/]+:9901")
COMMAND = re.compile(r"(crossfade|curl|dig|df|journalctl|openssl|promtool|systemctl) \S")
EVENT = re.compile(r"\w+\.[\w-]+")
of_each_page = pytest.mark.parametrize("page", PAGES, ids=name_of)


@pytest.fixture(scope="session")
def understood(tmp_path_factory):
    """Says whether the program takes these words: where no proxy is, so that none is changed."""
    nowhere = tmp_path_factory.mktemp("nowhere")
    env = {"PATH": os.environ["PATH"], "CROSSFADE_STATE": str(nowhere)}

    def ask(words):
        words = [ADMIN.sub("http://127.0.0.1:1", word) for word in words]
        done = subprocess.run(
            [binary(), *words], cwd=nowhere, env=env,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30,
        )  # fmt: skip
        return None if done.returncode in (0, 1) else f"crossfade {' '.join(words)}: {done.stderr}"

    return ask


@of_each_page
def test_every_command_shown_is_understood(page, understood):
    assert not [problem for words in commands(page.read_text()) if (problem := understood(words))]


def test_commands_are_found_where_they_stand():
    verbs = [words[0] for words in commands(RUNBOOK.read_text())]
    assert len(verbs) > 30 and {"shift", "rollback", "undo", "mode", "export", "drain"} <= set(verbs)
    shown = {name_of(page): [words[0] for words in commands(page.read_text())] for page in PAGES}
    # On another machine, in a loop, after a variable.
    assert shown["deploy/fly/README.md"] == ["shift", "rollback"]
    assert shown["deploy/kubernetes/README.md"] == ["check", "rollback"]
    assert shown["deploy/heroku/README.md"] == ["check"] and shown["deploy/aws/README.md"] == ["shift"]


@pytest.mark.parametrize(
    "line",
    [
        "`crossfade cutover`",
        "`crossfade mode read-only`",
        "`crossfade shift fly`",
        "`crossfade shift fly 5% --gently`",
        '```sh\nfly ssh console -C "/usr/local/bin/crossfade doctor --config x"\n```',
        "```sh\nA=1 crossfade finish\n```",
    ],
)
def test_a_command_that_does_not_exist_is_found(line, understood):
    (words,) = commands(line)
    assert understood(words)


@of_each_page
def test_every_shell_block_is_shell(page):
    for block in blocks(page.read_text(), "sh"):
        done = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True, timeout=10)
        assert (done.returncode, done.stderr) == (0, ""), block


@of_each_page
def test_every_block_is_of_a_kind_that_is_checked(page):
    assert {language for language, _ in FENCE.findall(page.read_text())} <= LANGUAGES
    assert page == RUNBOOK or not list(blocks(page.read_text(), "toml")), "its TOML is loaded by no test"


@of_each_page
def test_every_link_leads_somewhere(page):
    for link in LINK.findall(prose(page.read_text())):
        if link.startswith("https://"):
            continue
        path, _, fragment = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not fragment or fragment in {anchor(one) for one in headings(target.read_text())}, link


@of_each_page
def test_every_path_of_this_repository_is_there(page):
    named = set(re.findall(r"(?<![\w./$])(?:deploy|config|tests)/[\w./-]+\w", page.read_text()))
    # What tests/run makes begins with a point.
    assert not [path for path in named if "/." not in path and not (ROOT / path).exists()]


@of_each_page
def test_every_alert_named_is_shipped(page):
    named = set(re.findall(r"\bCrossfade[A-Z]\w+", page.read_text()))
    assert not named - set(alerts())


@of_each_page
def test_every_family_and_event_named_is_the_programs(page):
    text = page.read_text()
    said = "".join(path.read_text() for path in (ROOT / "src/telemetry").glob("*.rs"))
    named = set(re.findall(r"\bcrossfade_[a-z_]+", text)) - {"crossfade_state"}
    assert not [name for name in named if f'"{name}"' not in said]
    # Two words and a point in backticks, the first one of an event's.
    subjects = {event.split(".")[0] for event in re.findall(r'event = "([\w.-]+)"', said)}
    events = {code for code in CODE.findall(prose(text)) if EVENT.fullmatch(code) and code.split(".")[0] in subjects}
    assert not [event for event in events if f'event = "{event}"' not in said]


def test_what_the_runbook_has_in_italics_is_a_panel():
    shown = set()
    for path in (DEPLOY / "grafana/dashboards").glob("*.json"):
        dashboard = json.loads(path.read_text())
        shown |= {panel["title"] for panel in dashboard["panels"] if panel["type"] != "row"}
        shown.add(dashboard["title"].removeprefix("Crossfade: "))
    named = panels(RUNBOOK.read_text())
    assert len(named) > 15 and not named - shown


def alerts():
    """The severities of each alert by its name."""
    found = {}
    for group in yaml.safe_load((DEPLOY / "prometheus/alerts.yml").read_text())["groups"]:
        for rule in group["rules"]:
            found.setdefault(rule["alert"], set()).add(rule["labels"]["severity"])
    return found


def test_each_alert_has_its_section_which_says_how_bad_it_is_and_gives_a_command():
    text = section(RUNBOOK.read_text(), "Alerts")
    assert sorted(headings(text)) == sorted(alerts())
    for name, severities in alerts().items():
        words = section(text, name)
        says = {severity for severity in ("critical", "warning") if re.search(rf"\b{severity}\b", words, re.IGNORECASE)}
        assert says == severities, name
        assert any(COMMAND.match(code) for code in CODE.findall(words)), f"{name}: no command"


def test_each_phase_is_in_the_table_and_has_its_section():
    text = RUNBOOK.read_text()
    rows = [line for line in section(text, "The phases").splitlines() if line.startswith("|")]
    assert all(row.count("|") == 7 and "||" not in row for row in rows)
    linked = [link for row in rows for link in LINK.findall(row) if re.match(r"#\d", link)]
    assert linked == [f"#{anchor(one)}" for one in headings(text) if re.match(r"\d", one)]


def test_the_runbook_can_be_read_at_two_in_the_morning():
    lines = RUNBOOK.read_text().splitlines()
    assert len(lines) <= 400
    assert not [line for line in lines if len(line) > 120 and not line.startswith("|")]
