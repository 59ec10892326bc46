"""A headless browser of the system, for tests of pages; nothing is downloaded."""

import contextlib
import shutil
import time

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
  "--headless=new",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--window-size=1280,1000",
)


@contextlib.contextmanager
def opened(profile, *flags):
  """A browser, or the test is skipped with the reason.

  Args:
    profile: an empty folder.
    flags: of the browser, more of them.
  """
  webdriver = pytest.importorskip("selenium.webdriver", reason="needs the extra dev")
  program = next(filter(None, map(shutil.which, BROWSERS)), None)
  driver = shutil.which("chromedriver")
  if not program or not driver:
    pytest.skip("needs chromium and chromedriver: apt install chromium chromium-driver")
  options = webdriver.ChromeOptions()
  options.binary_location = program
  for flag in (*FLAGS, *flags, f"--user-data-dir={profile}"):
    options.add_argument(flag)
  options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
  found = webdriver.Chrome(options, webdriver.ChromeService(driver))
  try:
    yield found
  finally:
    found.quit()


def all_of(browser, css):
  """The elements that a selector finds."""
  return browser.find_elements("css selector", css)


def wait(condition, seconds=30):
  """Until something holds."""
  end = time.monotonic() + seconds
  while not condition():
    assert time.monotonic() < end, "the page does not come to it"
    time.sleep(0.1)


@contextlib.contextmanager
def phone(browser):
  """A screen that is 390 pixels wide: (what the page takes, the screen)."""
  size = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
  browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
  yield browser.execute_script(
    "return [document.documentElement.scrollWidth, window.innerWidth]"
  )
  browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@contextlib.contextmanager
def scheme(browser, name):
  """What a reader prefers: `light` or `dark`."""
  feature = {"name": "prefers-color-scheme", "value": name}
  browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
  yield
  browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def light(element, what):
  """0 to 255, how light a colour of an element is."""
  colour = element.value_of_css_property(what)
  return sum(map(int, colour.split("(")[1].rstrip(")").split(",")[:3])) / 3
