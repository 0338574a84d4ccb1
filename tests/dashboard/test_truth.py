"""Whether what is shown is true: over a lost connection, a silent one, a restart; in figures, charts and banners."""

import pytest
from selenium.webdriver.common.action_chains import ActionChains


def paths(dashboard, metric, side):
    """The lines of one chart, as SVG path data."""
    css = f".charts .row:nth-of-type({metric}) .panel:nth-of-type({side}) path.line"
    return [path.get_attribute("d") for path in dashboard.all(css)]


def assert_history_is_told_once(dashboard, server):
    told = [record["revision"] for record in server.api("GET", "history")["revisions"]]
    dashboard.until(lambda: dashboard.entries() == told, f"the history isn't {told}")


def test_a_restart_is_noticed_and_got_over(dashboard, server):
    server.shift("fly", 33)
    dashboard.wait_share("fly", 33)
    server.stop()
    dashboard.wait_text(".banner[data-banner='stale']", "Stale", "old", "nothing came since")
    dashboard.wait_text("#link", "reconnecting")
    for css in (".sides", ".ends", "#past-list"):
        assert dashboard.find(css).value_of_css_property("filter") == "grayscale(1)", f"{css} is stale and looks well"
    server.start_again()
    dashboard.wait_live()
    dashboard.until(lambda: not dashboard.banner("stale"), "the banner stays")
    dashboard.wait_text("#outcome-text", "has restarted")
    assert_history_is_told_once(dashboard, server)
    before = dashboard.revision()
    server.shift("fly", 34)
    dashboard.wait_share("fly", 34)
    assert dashboard.revision() == before + 1
    assert_history_is_told_once(dashboard, server)
    drawn = paths(dashboard, 1, 1)
    dashboard.until(lambda: paths(dashboard, 1, 1) not in (drawn, [""], []), "the charts stand still")


def test_a_change_while_the_page_was_away_is_seen(dashboard, server):
    server.stop()
    dashboard.wait_text("#link", "reconnecting")
    server.start_again()
    server.shift("fly", 77, actor="jonas", reason="meanwhile")
    dashboard.wait_share("fly", 77)
    dashboard.wait_text("#past-list li:first-child", "meanwhile")
    assert_history_is_told_once(dashboard, server)


def test_a_proxy_that_says_nothing_is_stale_too(dashboard, server):
    server.freeze()
    try:
        dashboard.wait_text(".banner[data-banner='stale']", "Stale")
    finally:
        server.thaw()
    dashboard.until(lambda: not dashboard.banner("stale"), "the banner stays")
    dashboard.wait_live()


def test_a_change_that_gets_no_answer_says_so(dashboard, server):
    dashboard.type_share("fly", "45")
    server.stop()
    dashboard.click(".fader .act")
    dashboard.wait_text(".fader .say", "can’t be reached")
    server.start_again()
    dashboard.wait_live()
    dashboard.click(".fader .act")
    dashboard.wait_share("fly", 45)


def test_charts_go_on_with_the_same_scale_on_both_sides(dashboard):
    scales = dashboard.text(".charts .row:nth-of-type(1) svg text:last-of-type").split("\n")
    assert len(scales) == 2 and scales[0] == scales[1]
    before = paths(dashboard, 1, 1)
    dashboard.until(lambda: paths(dashboard, 1, 1) != before, "the chart stands still")
    told = dashboard.find(".panel svg").get_attribute("aria-label")
    assert told.startswith("Requests per second of heroku, the last ") and ": now " in told


def test_pointing_at_a_chart_tells_every_value_of_that_time(dashboard):
    dashboard.until(lambda: paths(dashboard, 1, 1) not in ([""], []), "there is nothing to point at")
    chart = dashboard.all(".panel svg")[3]
    ActionChains(dashboard.driver).move_to_element(chart).perform()
    dashboard.wait_text(".charts summary", "The last ", "· at ")
    told = dashboard.text(".charts summary")
    cursors = [path.get_attribute("d") for path in dashboard.all("path.cursor")]
    assert len(cursors) == 6 and all(cursors)
    drawn = paths(dashboard, 1, 1)
    dashboard.until(lambda: paths(dashboard, 1, 1) != drawn, "the chart stands still")
    assert dashboard.text(".charts summary") == told, "a new sample moves nothing that is pointed at"
    ActionChains(dashboard.driver).move_to_element(dashboard.find("h1")).perform()
    dashboard.until(lambda: "·" not in dashboard.text(".charts summary"), "it still points")


@pytest.mark.scene("fresh")
def test_a_restart_that_lost_everything_is_believed(dashboard, server):
    server.stop()
    server.mock.start_again("quiet")
    dashboard.wait_share("fly", 30)
    assert_history_is_told_once(dashboard, server)
    server.stop()
    server.mock.start_again("fresh")
    dashboard.wait_share("fly", 5)
    assert dashboard.revision() == 1
    assert_history_is_told_once(dashboard, server)


@pytest.mark.scene("gap")
def test_a_gap_is_a_gap(dashboard):
    for metric in (1, 2, 3):
        for side in (1, 2):
            for line in paths(dashboard, metric, side):
                assert line.count("M") == 2, (metric, side)


@pytest.mark.scene("three")
def test_no_gap_is_none(dashboard):
    for side in (1, 2, 3):
        assert [line.count("M") for line in paths(dashboard, 3, side)] == [1, 1]


@pytest.mark.scene("failing")
def test_the_worse_side_is_marked_by_a_word(dashboard):
    worse = dashboard.text("td.worse")
    assert worse.count("▲ worse") == 4, worse
    assert "pts" in worse and "×" in worse
    assert dashboard.text("td.side-0 .mark") == ""


@pytest.mark.scene("fresh")
def test_few_requests_are_not_compared(dashboard):
    dashboard.server.shift("fly", 0)
    dashboard.wait_text("thead th:last-child", "few requests")
    assert dashboard.text("td.worse") == ""


@pytest.mark.scene("stable-down")
def test_rollback_says_that_stable_is_down(dashboard):
    dashboard.wait_text("tbody", "✗ down")
    dashboard.click("#rollback")
    dashboard.wait_text("#ask-body", "✗ down", "may not be able to take the load", "answered 3 min ago")
    dashboard.click("#ask-yes")
    dashboard.wait_share("fly", 0)


@pytest.mark.scene("refused")
def test_a_refused_configuration_is_reported(dashboard):
    dashboard.wait_text(".banner", "The configuration file was refused")
    dashboard.click(".banner summary")
    dashboard.wait_text(".banner pre", "did you mean `fly`?")
    opened = dashboard.find(".banner details")
    dashboard.server.shift("fly", 31)
    dashboard.wait_share("fly", 31)
    assert dashboard.find(".banner details").get_attribute("open") is not None, opened


@pytest.mark.scene("trouble")
def test_trouble_draining_and_maintenance_are_told(dashboard):
    dashboard.wait_text("#banners", "A restart would lose changes", "No space left")
    dashboard.wait_text("#banners", "Draining", "web is in maintenance")
    dashboard.click("#rollback")
    dashboard.click("#ask-yes")
    dashboard.wait_text("#outcome-text", "A restart would lose this change.")


@pytest.mark.scene("hostile")
def test_what_others_wrote_is_text(dashboard):
    dashboard.wait_text("#past-list", "<img src=x onerror=alert(1)>", "<script>alert(2)</script> & so on")
    assert dashboard.all("img") == [] and len(dashboard.all("script")) == 1
    assert dashboard.complaints() == []
