"""Pages in a real browser: nothing fails, tables sort, the slider moves the map."""

import pathlib

import pytest

from mcr_jax import report
from tests import browser as browsers
from tests.browser import all_of, light, wait
from tests.pages import made

pytest.importorskip("vl_convert", reason="pages need the extra report")
pytestmark = pytest.mark.slow
# Place and colour of every cell, in an order of our own.
CELLS = """return [...document.querySelectorAll(arguments[0])].map(
  x => ["transform", "d", "fill"].map(name => x.getAttribute(name)).join()).sort()
"""
MARKS = "figure.full svg.marks .mark-rect.role-mark path"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
  with browsers.opened(tmp_path_factory.mktemp("profile")) as found:
    yield found


@pytest.fixture(scope="module")
def page(workdir, tmp_path_factory):
  """A page of a table and two runs, which are of one folder."""
  folder = tmp_path_factory.mktemp("page")
  (folder / made.EVIL.replace("/", "")).symlink_to(workdir)
  other = folder / made.EVIL.replace("/", "")
  folders = [made.table(folder / "table", workdir), workdir, other]
  arguments = [*map(str, folders), "--sample", f"{made.EVIL}3"]
  report.main([*arguments, "--out", str(folder / "page.html")])
  return folder / "page.html"


@pytest.fixture
def opened(browser, page):
  """The page, drawn."""
  browser.get(page.as_uri())
  wait(lambda: len(all_of(browser, "[data-chart] svg.marks")) == charts(browser))
  return browser


def charts(browser):
  return len(all_of(browser, "[data-chart]"))


def first_column(browser, table):
  return [x.text for x in table.find_elements("css selector", "tbody th")]


def test_it_draws_everything_without_an_error_or_a_request(opened, page):
  assert charts(opened) >= 10
  assert opened.get_log("browser") == []
  script = "return performance.getEntriesByType('resource').map(x => x.name)"
  assert opened.execute_script(script) == []
  assert page.stat().st_size < 5e6


def test_markup_in_names_and_words_is_shown_as_text(opened):
  text = opened.find_element("css selector", "body").text
  assert made.EVIL in text
  # Two programs, and the charts as data.
  scripts = all_of(opened, "script")
  assert len(scripts) == charts(opened) + 2
  labels = [x.text for x in all_of(opened, "figure.full svg.marks text")]
  assert any(label.startswith("<script>") for label in labels)


def test_a_table_sorts_by_keyboard_both_ways(opened):
  table = next(x for x in all_of(opened, "table.sortable") if "mae" in x.text)
  section = table.find_element("xpath", ".")
  before = first_column(opened, section)
  button = section.find_element("css selector", "thead th button")
  for direction in ("descending", "ascending"):
    opened.execute_script("arguments[0].focus()", button)
    opened.switch_to.active_element.send_keys("\n")
    head = section.find_element("css selector", "thead th")
    wait(lambda d=direction, h=head: h.get_attribute("aria-sort") == d)
    down = direction == "descending"
    wait(lambda s=section, d=down: first_column(opened, s) == sorted(before, reverse=d))


def test_the_slider_moves_the_heat_map_by_keyboard(opened):
  colours = lambda: opened.execute_script(CELLS, MARKS)
  slider = opened.find_element("css selector", "figure.full input[type=range]")
  assert slider.get_attribute("max") == str(made.LAYERS)
  last = colours()
  assert len(last) > 1
  slider.send_keys("\ue012")  # the arrow to the left
  wait(lambda: slider.get_attribute("value") == "1" and colours() != last)
  slider.send_keys("\ue014")
  wait(lambda: colours() == last)


def test_the_kind_of_attention_is_chosen_from_a_list(opened):
  cells = lambda: len(all_of(opened, MARKS))
  before = cells()
  chosen = opened.find_element("css selector", "figure.full select")
  names = [x.text for x in chosen.find_elements("css selector", "option")]
  assert names[0].startswith("CMU: text reads audio") and "encoder" in names[-1]
  chosen.send_keys(names[-1])
  wait(lambda: cells() > before)


def test_light_and_dark_are_the_readers_choice(opened):
  seen = {}
  for name in ("light", "dark"):
    with browsers.scheme(opened, name):
      body = opened.find_element("css selector", "body")
      label = opened.find_element("css selector", "svg.marks .role-axis text")
      seen[name] = (light(body, "background-color"), light(label, "fill"))
  assert seen["light"][0] > 200 > 80 > seen["light"][1]
  assert seen["dark"][0] < 80 < 200 < seen["dark"][1]


def test_a_phone_scrolls_tables_and_not_the_page(opened):
  with browsers.phone(opened) as (inside, outside):
    pass
  assert inside <= outside == 390


def test_the_page_names_no_other_server(page):
  text = pathlib.Path(page).read_text("utf-8")
  assert not any(mark in text for mark in ('src="http', 'href="http', "@import"))
