"""The page itself: who gets in, what it asks of whom, how it fits, and whether everybody is able to use it."""

import urllib.request

import pytest
from selenium.webdriver.common.keys import Keys

# In a relative luminance of each text's colour against the nearest background; large text may be fainter.
FAINT = """
const parse = text => (text.match(/[\\d.]+/g) || []).map(Number);
const luminance = ([r, g, b]) => [r, g, b].map(v => v / 255)
  .map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
  .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
const behind = element => {
  for (let e = element; e; e = e.parentElement) {
    const color = parse(getComputedStyle(e).backgroundColor);
    if (color.length === 3 || color[3] > 0) return color;
  }
  return [255, 255, 255];
};
const own = element => [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
return [...document.querySelectorAll('body *')].filter(e => own(e) && e.checkVisibility() && !e.closest(':disabled'))
  .filter(e => !['SCRIPT', 'STYLE', 'NOSCRIPT'].includes(e.tagName)).map(e => {
    const style = getComputedStyle(e), svg = e instanceof SVGElement;
    const [a, b] = [luminance(parse(svg ? style.fill : style.color)), luminance(behind(e))];
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    const name = `${e.tagName} ${e.className} ${e.textContent.trim().slice(0, 40)}`;
    return [ratio < (large ? 3 : 4.5), `${ratio.toFixed(2)} ${name}`];
  }).filter(([faint]) => faint).map(([, text]) => text);
"""
CONTROLS = "button, input, a, summary, [tabindex='0'], svg[role=img]"


def scenes(*names):
    return [pytest.param(name, marks=pytest.mark.scene(name)) for name in names]


# --- Who gets in -----------------------------------------------------------------------------------------------------


def enter(page, token):
    page.until(lambda: page.find("#token").is_displayed(), "nobody asks for the token")
    page.find("#token").clear()
    page.find("#token").send_keys(token)
    page.press(Keys.ENTER)


def test_a_wrong_token_then_the_right_one(page, server):
    page.open("", wait=False)
    page.wait_text("#enter", "The token, please")
    assert page.text("#enter-error") == "", "no token is no wrong token"
    assert not page.find("#rollback").is_displayed()
    enter(page, "certainly-not-this-token")
    page.wait_text("#enter-error", "This token is wrong.")
    enter(page, server.token)
    page.wait_live()
    page.driver.refresh()
    page.wait_live()


def test_a_token_in_the_address_is_taken_and_removed(page, server):
    page.open()
    assert page.run("return location.href") == f"{server.base_url}/"
    assert server.token not in page.run("return document.documentElement.outerHTML")
    assert page.run("return Object.values(localStorage).join()") == ""


def test_the_token_can_be_forgotten(dashboard):
    dashboard.click("#you")
    dashboard.click("#forget")
    dashboard.wait_text("#enter", "The token, please")
    assert dashboard.run("return sessionStorage.length") == 0
    assert "heroku" not in dashboard.run("return document.body.innerText"), "nothing is left to be read"
    dashboard.driver.refresh()
    dashboard.wait_text("#enter", "The token, please")


@pytest.mark.scene("fresh")
def test_too_many_wrong_tokens_have_to_wait(page, server):
    page.open("", wait=False)
    for attempt in range(6):
        if "Too many" in page.text("#enter-error"):
            break
        enter(page, f"certainly-not-this-token-{attempt}")
        page.until(lambda: page.text("#enter-error"), "nothing is said of a wrong token")
    page.wait_text("#enter-error", "Too many wrong tokens. Wait")
    assert not page.find("#enter-button").is_enabled()
    page.until(lambda: page.find("#enter-button").is_enabled(), "it never may be tried again")
    enter(page, server.token)
    page.wait_live()


# --- What it asks of whom --------------------------------------------------------------------------------------------


def test_nothing_leaves_the_origin_and_no_rule_is_broken(dashboard, server):
    for opener in ("#rollback", "[aria-label='Undo the last change of web']", "[role=switch]"):
        dashboard.click(opener)
        dashboard.press(Keys.ESCAPE)
    dashboard.type_share("fly", "45")
    dashboard.click(".fader .act")
    dashboard.wait_share("fly", 45)
    assert dashboard.complaints() == []
    assert dashboard.origins() == {server.base_url}


def test_the_rules_allow_this_script_and_this_style_alone(server):
    with urllib.request.urlopen(f"{server.base_url}/", timeout=10) as answer:
        rules = dict(rule.strip().split(" ", 1) for rule in answer.headers["Content-Security-Policy"].split(";"))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == rules["frame-ancestors"] == "'none'"
    assert rules["connect-src"] == "'self'"
    for name in ("script-src", "style-src"):
        assert rules[name].startswith("'sha256-") and "unsafe" not in rules[name]


# --- How it fits -----------------------------------------------------------------------------------------------------


def fits(page):
    """Not by window.innerWidth alone: a phone zooms out to fit what is too wide."""
    content, room = page.run("const page = document.documentElement; return [page.scrollWidth, page.clientWidth]")
    return content <= room <= page.width


@pytest.mark.parametrize("width", [360, 390, 768, 1024, 1440])
def test_it_fits_the_width(page, width):
    page.size(width, 844)
    page.open()
    page.type_share("fly", "45")
    assert fits(page)


@pytest.mark.parametrize("scene", scenes("failing", "three", "many", "long", "refused", "trouble", "rolled-back"))
def test_every_scene_fits_a_phone(page, scene):
    page.size(390, 844)
    page.open()
    assert fits(page), scene
    page.click("#rollback")
    assert fits(page), scene
    button = page.find("#ask-yes").rect
    assert button["x"] >= 0 and button["x"] + button["width"] <= 390
    assert page.run("return document.querySelector('#ask-yes').getBoundingClientRect().bottom <= innerHeight")


def test_fingers_have_room_on_a_phone(page):
    page.size(390, 844)
    page.open()
    small = [f"{e.accessible_name}: {e.size}" for e in page.all("button, input, summary")
             if e.is_displayed() and e.size["height"] < 44]  # fmt: skip
    assert small == []


@pytest.mark.scene("many")
@pytest.mark.parametrize("width", [390, 1440])
def test_rollback_is_always_in_reach(page, width):
    page.size(width, 844)
    page.open()
    page.run("scrollTo(0, document.body.scrollHeight)")
    top = page.run("return document.querySelector('#rollback').getBoundingClientRect().top")
    assert 0 <= top < 100
    page.click("#rollback")
    page.wait_text("#ask", "Roll all 8 routes back?")


# --- Whether everybody is able to use it -----------------------------------------------------------------------------


def test_every_control_has_a_name(dashboard):
    def nameless(inside=""):
        controls = ", ".join(f"{inside} {css}" for css in CONTROLS.split(", "))
        found = [e for e in dashboard.all(controls) if e.is_displayed() and not e.accessible_name]
        return [e.get_attribute("outerHTML")[:120] for e in found]

    dashboard.type_share("fly", "45")
    assert nameless() == []
    dashboard.click("#rollback")
    assert nameless("dialog[open]") == []
    dashboard.press(Keys.ESCAPE)
    dashboard.click("#you")
    assert nameless("dialog[open]") == []


def test_landmarks_headings_and_ids(dashboard):
    landmarks = ("body > header", "main:not([hidden])", "aside[aria-labelledby]", "body > footer")
    for css in (*landmarks, "h1", "h2", "[role=status]"):
        assert dashboard.all(css), css
    assert (
        dashboard.run("""const ids = [...document.querySelectorAll('[id]')].map(e => e.id);
        return ids.filter((id, index) => ids.indexOf(id) !== index)""")
        == []
    )
    dangling = dashboard.run("""return [...document.querySelectorAll('[aria-labelledby]')]
        .filter(e => !document.getElementById(e.getAttribute('aria-labelledby'))).length""")
    assert dangling == 0
    assert dashboard.find("html").get_attribute("lang") == "en"


def test_the_keyboard_comes_everywhere_and_is_seen(dashboard):
    dashboard.type_share("fly", "45")
    dashboard.run("document.activeElement.blur()")
    wanted = {e.id for e in dashboard.all("button, input, summary, a") if e.is_displayed() and e.is_enabled()}
    for _ in range(len(wanted) + 12):
        dashboard.press(Keys.TAB)
        focused = dashboard.driver.switch_to.active_element
        wanted.discard(focused.id)
        outline = focused.value_of_css_property("outline-style")
        assert focused.tag_name == "body" or outline != "none", focused.get_attribute("outerHTML")[:100]
    left = [e.accessible_name for e in dashboard.all("button, input, summary, a") if e.id in wanted]
    assert left == []


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_the_main_text_can_be_read(page, colours):
    page.scheme(colours)
    page.open()
    page.type_share("fly", "45")
    assert page.run(FAINT) == []
    page.click("#rollback")
    assert page.run(FAINT) == []


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("scene", scenes("failing", "three", "refused", "trouble", "rolled-back", "stable-down"))
def test_banners_and_marks_can_be_read(page, scene, colours):
    page.scheme(colours)
    page.open()
    assert page.run(FAINT) == [], scene
    page.click("#rollback")
    assert page.run(FAINT) == [], scene
