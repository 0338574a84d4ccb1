"""A rollout driven in the browser: shift, roll back, undo, and somebody else who does so too."""

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys


def last(server):
    return server.api("GET", "history")["revisions"][0]


def test_a_shift_by_number_and_confirm(dashboard, server):
    before = dashboard.revision()
    dashboard.type_share("fly", "45")
    assert dashboard.shares()["fly"] == 30, "a proposal is not live"
    assert "30 % → 45 %" in dashboard.text(".fader .act")
    dashboard.find(".why input").send_keys("all calm")
    dashboard.click(".fader .act")
    dashboard.wait_share("fly", 45)
    assert dashboard.revision() == before + 1
    dashboard.wait_text("#outcome-text", f"Revision {before + 1} is live", "fly 30 % → 45 %")
    made = last(server)
    assert made["command"].startswith("shift fly 45%") and made["reason"] == "all calm"
    dashboard.wait_text("#past-list li:first-child", "shift fly 45%", "fly 30 % → 45 %", "all calm")


def test_a_shift_by_the_fader_itself(dashboard):
    fader = dashboard.fader("fly", "input[type=range]")
    width = fader.size["width"]
    start = -width / 2 + 11 + (width - 22) * 0.30
    goal = -width / 2 + 11 + (width - 22) * 0.62
    drag = ActionChains(dashboard.driver).move_to_element_with_offset(fader, round(start), 0).click_and_hold()
    drag.move_by_offset(round(goal - start), 0).release().perform()
    proposed = float(dashboard.fader("fly", "input[type=number]").get_attribute("value"))
    assert 61 <= proposed <= 63 and proposed == int(proposed)
    dashboard.click(".fader .act")
    dashboard.wait_share("fly", proposed)


def test_a_shift_by_the_keyboard_alone(dashboard):
    dashboard.tab_to(".fader input[type=range]")
    dashboard.press(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.PAGE_UP, Keys.ARROW_LEFT)
    assert "41 % proposed, 30 % live" in dashboard.fader("fly", "input[type=range]").get_attribute(
        "aria-valuetext"
    ).replace("\u00a0", " ")
    dashboard.tab_to(".fader .act")
    dashboard.press(Keys.ENTER)
    dashboard.wait_share("fly", 41)


def test_a_tenth_of_a_percent_can_be_typed(dashboard):
    dashboard.type_share("fly", "0.1")
    dashboard.click(".fader .act")
    dashboard.wait_share("fly", 0.1)
    assert dashboard.shares()["heroku"] == 99.9


def test_what_cannot_be_is_not_sent(dashboard, server):
    before = last(server)["revision"]
    for wrong in ("101", "-1"):
        dashboard.type_share("fly", wrong)
        assert not dashboard.find(".fader .act").is_enabled(), wrong
        assert "From 0 to 100 %" in dashboard.text(".fader .say")
    dashboard.click(".fader button[type=button]")
    assert dashboard.fader("fly", "input[type=number]").get_attribute("value") == "30"
    assert last(server)["revision"] == before


def test_rollback_says_what_it_does_and_does_it(dashboard, server):
    dashboard.click("#rollback")
    dashboard.wait_text("#ask", "Roll web back?", "everything to heroku", "✓ up", "answered", "now")
    assert last(server)["command"] != "rollback", "the first click only asks"
    dashboard.find("#ask-reason").send_keys("pages look odd")
    dashboard.click("#ask-yes")
    dashboard.wait_share("fly", 0)
    dashboard.wait_text(".banner[data-banner='rolled back']", "web to heroku")
    assert dashboard.status()["routes"][0]["rolled_back"] is True
    assert (last(server)["command"], last(server)["reason"]) == ("rollback", "pages look odd")


def test_rollback_by_two_keys(dashboard):
    dashboard.find("body").send_keys(Keys.ALT + "r")
    dashboard.wait_text("#ask", "Roll web back?")
    dashboard.press(Keys.ENTER)
    dashboard.wait_share("fly", 0)
    dashboard.until(lambda: not dashboard.find("#ask").is_displayed(), "the question stays")


def test_escape_takes_the_question_back(dashboard, server):
    before = last(server)["revision"]
    dashboard.click("#rollback")
    dashboard.press(Keys.ESCAPE)
    dashboard.until(lambda: not dashboard.find("#ask").is_displayed(), "the question stays")
    assert last(server)["revision"] == before
    assert dashboard.run("return document.activeElement.id") == "rollback", "the focus goes back"


def test_undo_shows_first_what_it_would_do(dashboard, server):
    server.shift("fly", 55)
    dashboard.wait_share("fly", 55)
    dashboard.click("[aria-label='Undo the last change of web']")
    dashboard.wait_text("#ask-body", "fly 55 % → 30 %")
    assert dashboard.shares()["fly"] == 55, "a dry run changes nothing"
    dashboard.click("#ask-yes")
    dashboard.wait_share("fly", 30)
    assert last(server)["command"].startswith("undo")


def test_a_rollback_is_undone(dashboard):
    dashboard.click("#rollback")
    dashboard.click("#ask-yes")
    dashboard.wait_share("fly", 0)
    dashboard.click("#outcome-undo")
    dashboard.wait_text("#ask-body", "rollback ended")
    dashboard.click("#ask-yes")
    dashboard.wait_share("fly", 30)


def test_maintenance_and_back(dashboard):
    dashboard.click("[role=switch]")
    dashboard.wait_text("#ask", "Put web into maintenance?", "503")
    assert dashboard.run("return document.activeElement.id") == "ask-no", "the careful answer comes first"
    dashboard.click("#ask-yes")
    dashboard.wait_text(".banner[data-banner='mode']", "web is in maintenance")
    assert dashboard.find("[role=switch]").get_attribute("aria-checked") == "true"
    dashboard.click("[role=switch]")
    dashboard.click("#ask-yes")
    dashboard.until(lambda: not dashboard.banner("mode"), "the banner stays")


def test_somebody_else_changed_it_meanwhile(dashboard, server):
    dashboard.type_share("fly", "45")
    server.shift("fly", 10, actor="jonas")
    dashboard.wait_share("fly", 10)
    dashboard.wait_text(".fader .say", "Changed meanwhile by jonas (shift fly 10%)")
    dashboard.click(".fader .act")
    dashboard.wait_text(".fader .say", "Somebody else changed it meanwhile")
    assert dashboard.status()["routes"][0]["backends"][1]["weight"] == 10, "a stale shift changes nothing"
    dashboard.wait_text(".fader .act", "10 % → 45 %")
    dashboard.click(".fader .act")
    dashboard.wait_share("fly", 45)


def test_the_name_goes_into_the_history(dashboard, server):
    dashboard.click("#you")
    dashboard.find("#who-name").send_keys("Lena")
    dashboard.press(Keys.ENTER)
    dashboard.wait_text("#you", "You: Lena")
    dashboard.type_share("fly", "31")
    dashboard.click(".fader .act")
    dashboard.wait_share("fly", 31)
    assert last(server)["actor"] == "Lena"
    dashboard.open()
    assert dashboard.text("#you") == "You: Lena"


@pytest.mark.scene("three")
def test_a_third_backend_keeps_its_share(dashboard):
    dashboard.type_share("fly", "96")
    assert "From 0 to 95 %" in dashboard.text(".fader[data-backend=fly] .say")
    dashboard.type_share("fly", "95")
    dashboard.click(".fader[data-backend=fly] .act")
    dashboard.wait_share("fly", 95)
    assert dashboard.shares() == {"heroku": 0, "aws": 5, "fly": 95}


@pytest.mark.scene("many")
def test_one_route_or_all_of_them(dashboard, server):
    dashboard.click("[aria-label='Rollback of api']")
    dashboard.click("#ask-yes")
    dashboard.wait_text(".banner[data-banner='rolled back']", "api to heroku.")
    dashboard.click("#rollback")
    dashboard.wait_text("#ask", "Roll all 8 routes back?", "it is rolled back already")
    dashboard.click("#ask-yes")
    dashboard.until(lambda: all(route["rolled_back"] for route in server.api("GET", "status")["routes"]), "not all")
