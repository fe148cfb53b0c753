"""A headless Chromium that looks at one page: what it says, what it complains of, whom it asks."""

import base64
import contextlib
import json
import shutil
import tempfile

from selenium import webdriver
from selenium.common.exceptions import SessionNotCreatedException
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from waiting import wait_until

FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars")


class Browser:
    def __init__(self, width=1280, height=1100, dark=False):
        self.profile = tempfile.mkdtemp(prefix="syncflow-browser-")
        options = Options()
        options.binary_location = "/usr/bin/chromium"
        for flag in (*FLAGS, f"--user-data-dir={self.profile}", f"--window-size={width},{height}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = wait_until(lambda: self._start(options), "Chromium to start")
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {
            "features": [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]})
        self.asked = []  # every address it asked for

    @staticmethod
    def _start(options):
        """None where the machine was so busy that the driver lost its patience."""
        with contextlib.suppress(SessionNotCreatedException):
            return webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self.driver.quit()
        shutil.rmtree(self.profile, ignore_errors=True)

    def open(self, address):
        self.driver.get(address)

    def text(self, id):
        return self.driver.execute_script("return document.getElementById(arguments[0]).textContent", id)

    def row(self, table, name):
        """What a table says beside `name`."""
        return self.driver.execute_script(
            "return [...document.querySelectorAll(`#${arguments[0]} tr`)].find((row) => row.cells[0].textContent === arguments[1])"
            "?.cells[1].textContent", table, name)

    def rows(self, table):
        return self.driver.execute_script(
            "return [...document.querySelectorAll(`#${arguments[0]} tbody tr`)].map((row) => [...row.cells].map((one) => one.textContent))",
            table)

    def points(self, plot):
        """How many points its lines have."""
        return self.driver.execute_script(
            "return [...document.querySelectorAll(`#${arguments[0]} .line`)].map((one) => one.getAttribute('d').split('L').length)"
            ".reduce((a, b) => a + b, 0)", plot)

    def complaints(self):
        """What its console has said since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def addresses(self):
        """Every address it has asked for."""
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                self.asked.append(message["params"]["request"]["url"])
        return self.asked

    def picture(self, path):
        """The whole page as PNG."""
        size = self.driver.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        shot = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png", "captureBeyondViewport": True, "clip": clip})
        with open(path, "wb") as file:
            file.write(base64.b64decode(shot["data"]))
