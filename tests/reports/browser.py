"""Headless Chromium, driven offline: Selenium fetches nothing and the browser resolves no name."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import contextmanager

PROGRAMS = ("chromium", "chromedriver")


def absent():
    """Return what is missing to drive a browser, in words; empty where nothing is."""
    return [f"{name} is not installed" for name in PROGRAMS if shutil.which(name) is None]


@contextmanager
def open_browser():
    """Yield a WebDriver for headless Chromium, with a console and a network log; closed at the end."""
    os.environ["SE_OFFLINE"] = "true"  # never let selenium-manager look for a driver
    from selenium import webdriver  # noqa: PLC0415 - unit tests do not pay for it
    from selenium.webdriver.chrome.service import Service  # noqa: PLC0415 - the same

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for argument in (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-extensions",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    service = Service(shutil.which("chromedriver"), log_output=subprocess.DEVNULL)
    driver = webdriver.Chrome(options=options, service=service)
    try:
        yield driver
    finally:
        driver.quit()


def show(driver, path, *, width=1440, height=1000, theme="light", fragment="", is_script_on=True):
    """Open the file afresh in a window of that size and with that system theme."""
    driver.get("about:blank")
    driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not is_script_on})
    # Without motion, so that nothing is still scrolling when a test clicks.
    features = [
        {"name": "prefers-color-scheme", "value": theme},
        {"name": "prefers-reduced-motion", "value": "reduce"},
    ]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": features})
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
    )
    driver.get(f"{path.as_uri()}{fragment}")
