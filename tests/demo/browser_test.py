"""The page in a real browser, on a drawn clip, from the program to the last chart."""

import os
import pathlib
import signal
import subprocess
import sys

import pytest

from tests import browser as browsers
from tests.browser import all_of, light, wait
from tests.demo import made
from tests.extract import made as clips
from tests.extract.conftest import brought  # noqa: F401

ActionChains = pytest.importorskip("selenium.webdriver").ActionChains
for package in ("av", "jinja2", "pocketsphinx", "starlette", "uvicorn", "vl_convert"):
  pytest.importorskip(package, reason="needs the extra demo")
pytestmark = pytest.mark.slow
EVIL = "<script>alert(1)</script>"
WORDS = f"{EVIL} so it is"
ENTER, TAB, RIGHT = "\ue007", "\ue004", "\ue014"
# A request of the page's own, beside its script.
POST = """
const done = arguments[arguments.length - 1];
const head = new TextEncoder().encode(JSON.stringify(
  {name: "second.wav", words: "a", subtitles: null, suffix: ""}));
const size = new DataView(new ArrayBuffer(4));
size.setUint32(0, head.length);
const body = new Blob([size.buffer, head, "x"]);
const headers = {"content-type": "application/octet-stream"};
const post = () => fetch("job", {method: "POST", body, headers});
fetch("job").then((x) => x.json()).then((job) => post().then((answer) => done(
  [job && job.state, answer.status])));
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory, brought):  # noqa: F811
  """The line that the program prints, its temporary folder, and its end."""
  brought("minilm")
  folder = tmp_path_factory.mktemp("demo")
  temporary = folder / "temporary"
  temporary.mkdir()
  workdir = made.run(folder)
  command = [sys.executable, "-m", "mcr_jax.demo", "--workdir", str(workdir)]
  environment = os.environ | {"TMPDIR": str(temporary)}
  root = pathlib.Path(__file__).parents[2]
  with subprocess.Popen(
    command, stdout=subprocess.PIPE, text=True, env=environment, cwd=root
  ) as process:
    line = process.stdout.readline()
    assert line.count("http://127.0.0.1:") == 1
    yield line.split()[0], temporary
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 0
  assert list(temporary.iterdir()) == []


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
  with browsers.opened(tmp_path_factory.mktemp("profile")) as found:
    yield found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """Clips: one of sound with a name of markup, and one that is none."""
  folder = tmp_path_factory.mktemp("clips")
  (folder / "<b>bold.wav").write_bytes(clips.clip(clips.tone(1.5), form="wav"))
  (folder / "broken.mp4").write_bytes(b"no clip" * 100)
  return folder


@pytest.fixture
def page(browser, served):
  browser.get(served[0])
  wait(lambda: state(browser) == "idle", 120)
  return browser


def one(browser, name):
  return browser.find_element("id", name)


def state(browser):
  return one(browser, "form").get_attribute("data-state")


def drawn(browser):
  return len(all_of(browser, "[data-chart] svg.marks"))


def press(browser, keys):
  """On what has the focus."""
  ActionChains(browser).send_keys(keys).perform()


def finished(browser):
  charts = lambda: len(all_of(browser, "[data-chart]"))
  wait(lambda: state(browser) == "idle" and drawn(browser) == charts() > 0, 180)


def test_a_clip_is_explained_and_all_of_it_is_text(page, served, folder):
  one(page, "clip").send_keys(str(folder / "<b>bold.wav"))
  # From here on by keyboard.
  page.execute_script("document.getElementById('words').focus()")
  press(page, WORDS)
  focused = lambda: page.switch_to.active_element.get_attribute("id")
  order = [press(page, TAB) or focused() for _ in range(3)]
  assert order == ["subtitles", "silent", "send"]
  press(page, ENTER)
  wait(lambda: state(page) == "busy" and one(page, "cancel").is_displayed())
  finished(page)
  wait(lambda: focused() == "answer")
  assert one(page, "message").text == ""
  assert one(page, "answer").text == "<b>bold.wav"
  (headline,) = all_of(page, ".headline")
  assert "±" in headline.text
  words = all_of(page, "#said button")
  assert [x.text.split("\n")[0].rstrip(".0123456789") for x in words] == WORDS.split()
  assert not all_of(page, "#result script:not([type])") and not all_of(page, "b")
  script = "return performance.getEntriesByType('resource').map(x => x.name)"
  assert all(name.startswith(served[0]) for name in page.execute_script(script))
  assert page.execute_script("return document.referrer") == ""
  assert page.get_log("browser") == []
  (left,) = served[1].iterdir()
  assert [x.name for x in left.iterdir()] == ["lock"]


def test_a_word_plays_the_clip_from_there_and_charts_mark_it(page, folder):
  finished(page)  # what was explained is still there when the page is loaded again
  one(page, "clip").send_keys(str(folder / "<b>bold.wav"))
  word = all_of(page, "#said button")[2]
  wait(lambda: page.execute_script("return document.getElementById('player').duration"))
  word.click()
  start = float(word.get_attribute("data-start"))
  now = "return document.getElementById('player').currentTime"
  wait(lambda: abs(page.execute_script(now) - start) < 0.05 and start > 0)
  rules = "figure svg .mark-rule.role-mark line"
  wait(lambda: len([x for x in all_of(page, rules) if x.get_attribute("y2")]) >= 2)
  wait(lambda: "now" in word.get_attribute("class"))


def test_a_broken_file_is_told_in_one_line(page, folder):
  one(page, "clip").send_keys(str(folder / "broken.mp4"))
  one(page, "words").send_keys("so it is")
  one(page, "send").click()
  alert = one(page, "message")
  wait(lambda: alert.is_displayed() and "broken.mp4 is no clip" in alert.text)
  assert "\n" not in alert.text and "/" not in alert.text
  assert one(page, "words").get_attribute("value") == "so it is"


def test_a_second_tab_is_told_that_there_is_one_and_sees_it_done(page, served, folder):
  first = page.current_window_handle
  one(page, "clip").send_keys(str(folder / "<b>bold.wav"))
  one(page, "words").send_keys("so it is")
  one(page, "send").click()
  assert page.execute_async_script(POST) == ["working", 409]
  page.switch_to.new_window("tab")
  page.get(served[0])
  finished(page)
  assert one(page, "answer").text == "<b>bold.wav"
  page.close()
  page.switch_to.window(first)
  finished(page)
  assert one(page, "message").text == ""


def test_words_are_walked_by_arrows(page):
  finished(page)
  page.execute_script("document.querySelector('#said button').focus()")
  press(page, RIGHT)
  second = all_of(page, "#said button")[1]
  assert page.switch_to.active_element == second
  assert second.get_attribute("tabindex") == "0"


def test_a_phone_and_the_dark_are_served_as_well(page):
  finished(page)
  with browsers.phone(page) as (inside, outside):
    pass
  assert inside <= outside == 390
  seen = {}
  for name in ("light", "dark"):
    with browsers.scheme(page, name):
      body, words = one(page, "form"), one(page, "words")
      label = all_of(page, "svg.marks .role-axis text")[0]
      seen[name] = (
        light(body, "background-color"),
        light(words, "color"),
        light(label, "fill"),
      )
  assert seen["light"][0] > 200 > 80 > max(seen["light"][1:])
  assert seen["dark"][0] < 80 < 200 < min(seen["dark"][1:])


def test_a_killed_program_leaves_nothing_that_the_next_does_not_sweep(served):
  # The one that runs now is left alone.
  code = "from mcr_jax.demo import scratch; assert scratch.sweep() == []"
  environment = os.environ | {"TMPDIR": str(served[1])}
  subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=60)
