"""How what is shown is kept up to date: without a stream, over a stream's ordinary end, under many changes."""

import itertools
import time

import pytest
from test_truth import assert_history_is_told_once

# Every scene here is the mock's: the program tells these things at times of its own.
pytestmark = pytest.mark.scene("quiet")

# Notes what the header says of the connection and what a screen reader is told.
NOTE = """window.noted = [];
for (const id of ['link', 'spoken'])
  new MutationObserver(() => window.noted.push(document.getElementById(id).textContent))
    .observe(document.getElementById(id), { childList: true, characterData: true, subtree: true });"""
# Notes how long the page was busy with one thing.
MEASURE = """window.longest = 0;
new PerformanceObserver(list => {
  for (const entry of list.getEntries()) window.longest = Math.max(window.longest, entry.duration);
}).observe({ type: 'longtask' });"""


def test_without_room_for_a_stream_it_looks_by_itself(page, server):
    server.mock.full = True
    page.open(wait=False)
    page.wait_text("#link", "every 2 s")
    page.wait_text(".banner[data-banner='no room']", "Live updates are full; looking every 2 s", "close one")
    server.shift("fly", 44, reason="seen without a stream")
    page.wait_share("fly", 44)
    page.wait_text("#past-list li:first-child", "seen without a stream")
    page.click("#rollback")
    page.click("#ask-yes")
    page.wait_share("fly", 0)
    for turn in range(12):
        server.shift("fly", 20 + turn)
    page.wait_share("fly", 31)
    assert_history_is_told_once(page, server)
    server.mock.full = False
    page.wait_live()
    page.until(lambda: not page.banner("no room"), "the banner stays")


def test_a_page_that_is_open_stays_when_no_token_is_taken(dashboard, server):
    server.mock.bar(6)
    server.mock.end_streams()
    dashboard.wait_text(".banner[data-banner='stale']", "Stale")
    dashboard.click("#rollback")
    dashboard.click("#ask-yes")
    dashboard.wait_text("#ask-error", "too many wrong tokens")
    assert not dashboard.find("#enter").is_displayed()
    dashboard.click("#ask-no")
    assert dashboard.find("#rollback").is_displayed()
    dashboard.wait_live()


def test_the_ordinary_end_of_a_stream_is_no_news(dashboard, server):
    dashboard.until(lambda: dashboard.run("return performance.now()") > 7000, "time stands still")
    dashboard.run(NOTE)
    server.mock.end_streams()
    dashboard.until(lambda: server.mock.streams == 2, "it doesn't come back")
    server.shift("fly", 66)
    dashboard.wait_share("fly", 66)
    assert dashboard.run("return window.noted") == []


def test_a_rollback_goes_through_whatever_is_live(dashboard, server):
    dashboard.click("#rollback")
    dashboard.run("""window.sent = [];
        window.fetch = (old => (url, more) => old(url, (window.sent.push(more.body), more)))(window.fetch);""")
    dashboard.click("#ask-yes")
    dashboard.wait_share("fly", 0)
    [sent] = dashboard.run("return window.sent.filter(body => body).map(body => JSON.parse(body))")
    assert sent == {"command": "rollback"}


@pytest.mark.scene("long")
def test_many_changes_and_a_full_history_hold_nothing_up(dashboard, server):
    dashboard.until(lambda: len(dashboard.entries()) == 999, "the history isn't full")
    dashboard.run(MEASURE)
    route, start = server.mock.world.routes[0], time.monotonic()
    shift = {"command": "shift", "route": route.name, "backend": route.names()[1]}
    for turn in itertools.count():
        if time.monotonic() > start + 4:
            break
        server.mock.command({**shift, "percent": float(turn % 90)})
        # Twenty a second.
        time.sleep(max(0, start + turn / 20 - time.monotonic()))
    last = server.mock.world.revision
    dashboard.until(lambda: dashboard.entries()[0] == last, "it is behind")
    longest = dashboard.run("return window.longest")
    assert longest < 150, "the page doesn't answer for so many milliseconds"
