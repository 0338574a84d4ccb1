"""One browser for all tests; a server, a fresh tab's memory and an open page for each."""

import pytest
from browser import Dashboard, open_chromium
from server import Mocked, Program, chosen


@pytest.fixture(scope="session")
def driver():
    browser = open_chromium()
    yield browser
    browser.quit()


@pytest.fixture
def server(request, tmp_path):
    """The mock tells the scene that the test is marked with; the program tells only what is."""
    mark = request.node.get_closest_marker("scene")
    scene = mark.args[0] if mark else "quiet"
    if chosen() != "program":
        running = Mocked(scene)
    elif mark:
        pytest.skip(f"the scene {scene} is the mock's")
    else:
        running = Program(tmp_path)
        # Something to undo, and a history.
        running.shift("fly", 30, reason="before the test", actor="maria")
    yield running
    running.stop()
    if chosen() == "program":
        running.close()


@pytest.fixture
def page(driver, server):
    """Not open yet; nobody's name, nobody's token. A new origin for each test has no memory."""
    driver.get("about:blank")
    driver.get_log("browser")
    driver.get_log("performance")
    dashboard = Dashboard(driver, server)
    dashboard.size(1440)
    dashboard.scheme("light")
    yield dashboard
    driver.get("about:blank")


@pytest.fixture
def dashboard(page):
    return page.open()
