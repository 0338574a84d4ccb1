"""Debian's Chromium, headless, and what a person does with the dashboard in it.

Used by the tests. It waits for what is awaited, never by time; what it can't find in DEADLINE seconds isn't there.
"""

import json
import re
import tempfile
from urllib.parse import urlsplit

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

# Generous, for a machine that compiles something else meanwhile.
DEADLINE = 30
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --lang=en-GB"
)


def open_chromium():
    """A browser with a profile of its own that nothing is left of."""
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    profile = tempfile.TemporaryDirectory(prefix="crossfade-chromium-", ignore_cleanup_errors=True)
    for flag in [*FLAGS.split(), f"--user-data-dir={profile.name}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    driver.profile = profile  # Kept until the browser has gone.
    return driver


class Dashboard:
    """The page in the browser."""

    def __init__(self, driver, server):
        self.driver, self.server = driver, server

    # --- Opening -----------------------------------------------------------------------------------------------------

    def open(self, fragment=None, wait=True):
        """With the token handed over by the address, unless another fragment is named."""
        self.driver.get(f"{self.server.base_url}/{f'#token={self.server.token}' if fragment is None else fragment}")
        if wait:
            self.wait_live()
        return self

    def size(self, width, height=900):
        self.width = width
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 700}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def scheme(self, name):
        feature = {"name": "prefers-color-scheme", "value": name}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})

    # --- Looking -----------------------------------------------------------------------------------------------------

    def until(self, condition, why):
        waiting = WebDriverWait(self.driver, DEADLINE, 0.05, [StaleElementReferenceException])
        return waiting.until(lambda _: condition(), f"{why}; the page says:\n{self.text('body')}")

    def find(self, css):
        return self.driver.find_element(By.CSS_SELECTOR, css)

    def all(self, css):
        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def text(self, css):
        """What is to be read there, with plain spaces; empty where nothing is."""
        found = [element.text for element in self.all(css)]
        return re.sub(r"[\u00a0\u202f]", " ", "\n".join(found))

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def wait_text(self, css, *wanted):
        self.until(lambda: all(word in self.text(css) for word in wanted), f"{css} never said {wanted}")

    def wait_live(self):
        self.wait_text("#link", "● live")

    def revision(self):
        return int(self.text("#revision").split()[-1])

    def shares(self):
        """The share of each backend of the first route, as the table tells it."""
        names = self.text(".card thead th .name-of").split("\n")
        shares = self.text(".card tbody tr:first-child td").split("\n")
        return {name: float(share.split()[0]) for name, share in zip(names, shares, strict=True)}

    def wait_share(self, backend, percent):
        self.until(lambda: self.shares()[backend] == percent, f"{backend} never had {percent} %")

    def entries(self):
        """The revisions that the history lists, from its top."""
        return [int(item.get_attribute("data-revision")) for item in self.all("#past-list li[data-revision]")]

    def banner(self, name):
        return self.text(f".banner[data-banner='{name}']")

    def status(self):
        return self.server.api("GET", "status")

    # --- Doing -------------------------------------------------------------------------------------------------------

    def fader(self, backend, part):
        return self.find(f".fader[data-backend='{backend}'] {part}")

    def type_share(self, backend, percent):
        # As a person does, in one go: WebDriver's clear() leaves the field in between, and the page fills it again.
        self.fader(backend, "input[type=number]").send_keys(Keys.CONTROL, "a", Keys.NULL, percent)

    def click(self, css):
        self.until(lambda: self.find(css).is_displayed() and self.find(css).is_enabled(), f"{css} can't be clicked")
        self.find(css).click()

    def press(self, *keys):
        for key in keys:
            self.driver.switch_to.active_element.send_keys(key)

    def tab_to(self, css):
        """By the keyboard alone, as far as it takes."""
        for _ in range(60):
            if self.run("return document.activeElement.matches(arguments[0])", css):
                return
            self.press(Keys.TAB)
        raise AssertionError(f"{css} can't be reached by the Tab key")

    # --- What the browser noticed ------------------------------------------------------------------------------------

    def complaints(self):
        """What the console said of security and scripts; a network that is gone is no complaint."""
        lines = [entry["message"] for entry in self.driver.get_log("browser")]
        return [line for line in lines if "Failed to load resource" not in line]

    def origins(self):
        """Every origin that was asked for something."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        urls = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
        return {f"{parts.scheme}://{parts.netloc}" for parts in map(urlsplit, urls) if parts.scheme != "data"}
