"""Who is answered, what is taken, one job at a time, and nothing that stays behind."""

import asyncio
import json
import os
import pathlib
import sys
import time

import pytest

pytest.importorskip("starlette", reason="needs the extra demo")
pytest.importorskip("httpx2", reason="needs the extra dev")
from starlette.testclient import TestClient  # noqa: E402

from mcr_jax.demo import app, guard, upload  # noqa: E402
from mcr_jax.demo.jobs import Jobs  # noqa: E402
from mcr_jax.errors import UserError  # noqa: E402

HOST = "127.0.0.1:8123"
TOKEN = "t" * 43
FAKE = (sys.executable, str(pathlib.Path(__file__).with_name("fake_worker.py")))
SENT = {"origin": f"http://{HOST}", "content-type": "application/octet-stream"}
PAGE = f"/{TOKEN}/"


def body(name="a.mp4", words=None, subtitles=None, suffix="", clip=b"clip"):
  head = {"name": name, "words": words, "subtitles": subtitles, "suffix": suffix}
  text = json.dumps(head).encode()
  return len(text).to_bytes(4, "big") + text + clip


@pytest.fixture
def jobs(tmp_path):
  return Jobs({"workdir": "run"}, tmp_path, FAKE)


@pytest.fixture
def client(jobs):
  made = app.make(jobs, TOKEN, "<p>page</p>", {"demo.js": ("text/javascript", "1")})
  with TestClient(made, base_url=f"http://{HOST}") as client:
    client.portal.call(jobs.open)
    yield client
    client.portal.call(jobs.close)


def post(client, content=None, **headers):
  return client.post(f"{PAGE}job", content=content or body(), headers=SENT | headers)


def until(client, *states):
  for _ in range(400):
    job = client.get(f"{PAGE}job").json()
    if job["state"] in states:
      return job
    time.sleep(0.01)
  raise AssertionError(job)


def test_a_clip_becomes_an_answer_and_no_file_stays(client, tmp_path):
  assert client.get(f"{PAGE}job").json() is None
  assert client.get(f"{PAGE}result").status_code == 404
  assert post(client, body(words="so it is", clip=b"x" * 70_000)).status_code == 202
  until(client, "done")
  assert client.get(f"{PAGE}result").text == "<p>70000 so it is</p>"
  assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
  ("method", "path", "headers", "status"),
  [
    ("GET", PAGE, {}, 200),
    ("GET", PAGE, {"host": "localhost:9000"}, 200),
    ("GET", PAGE, {"host": "attacker.example:8123"}, 421),
    ("GET", PAGE, {"host": "127.0.0.1.attacker.example"}, 421),
    ("GET", PAGE, {"host": "127.0.0.1@attacker.example"}, 421),
    ("GET", PAGE, {"host": "attacker.example@127.0.0.1"}, 421),
    ("GET", PAGE, {"host": "[::1"}, 421),
    ("GET", PAGE, {"host": ""}, 421),
    ("GET", "/", {}, 404),
    ("GET", f"/{TOKEN[1:]}/", {}, 404),
    ("GET", f"/{TOKEN}é/job", {}, 404),
    ("GET", f"{PAGE}../{TOKEN}/fake", {}, 404),
    ("GET", PAGE, {"origin": "http://attacker.example"}, 403),
    ("GET", f"{PAGE}job", {"origin": "null"}, 403),
    ("GET", f"{PAGE}job", {"sec-fetch-site": "cross-site"}, 403),
    (
      "GET",
      PAGE,
      {
        "sec-fetch-site": "cross-site",
        "sec-fetch-mode": "navigate",
        "sec-fetch-dest": "iframe",
      },
      403,
    ),
    ("POST", f"{PAGE}job", {}, 403),
    ("POST", f"{PAGE}job", {"origin": "http://localhost:8123"}, 403),
    ("POST", f"{PAGE}job", {"origin": f"https://{HOST}"}, 403),
    ("POST", f"{PAGE}job", {"origin": f"http://{HOST}"}, 415),
    ("DELETE", f"{PAGE}job/1", {}, 403),
    ("PUT", f"{PAGE}job", SENT, 405),
  ],
)
def test_only_our_own_page_is_answered(client, method, path, headers, status):
  answer = client.request(method, path, headers=headers)
  assert answer.status_code == status
  # Of refusals, too.
  assert answer.headers["content-security-policy"] == guard.POLICY
  assert answer.headers["referrer-policy"] == "no-referrer"
  assert answer.headers["x-content-type-options"] == "nosniff"
  assert answer.headers["cache-control"] == "no-store"
  assert "access-control-allow-origin" not in answer.headers
  assert client.get(f"{PAGE}job").json() is None


def test_the_policy_lets_nothing_in_from_elsewhere():
  rules = dict(rule.split(" ", 1) for rule in guard.POLICY.split("; "))
  assert rules.pop("default-src") == "'none'"
  allowed = {word for words in rules.values() for word in words.split()}
  assert allowed <= {"'self'", "'none'", "'unsafe-inline'", "data:", "blob:"}
  assert rules["script-src"] == "'self'"
  assert len({guard.new_token() for _ in range(9)}) == 9


def test_one_job_at_a_time_and_a_second_tab_is_told(client, tmp_path):
  number = post(client, body("slow.mp4")).json()["number"]
  assert until(client, "working")["number"] == number
  second = post(client)
  assert second.status_code == 409 and "tab" in second.json()["message"]
  # Another number is another tab's job, long gone.
  client.delete(f"{PAGE}job/{number + 1}", headers=SENT)
  assert client.get(f"{PAGE}job").json()["state"] == "working"
  client.delete(f"{PAGE}job/{number}", headers=SENT)
  assert until(client, "cancelled") and list(tmp_path.iterdir()) == []
  assert post(client).json()["number"] == number + 1
  until(client, "done")


def test_what_is_cancelled_while_it_is_sent_is_no_fault(client, jobs, monkeypatch):
  async def take(stream, place, stated):
    await jobs.cancel(jobs.job.number)
    return (place / "words.txt").write_text("gone")

  monkeypatch.setattr(upload, "take", take)
  assert post(client).status_code == 409
  assert client.get(f"{PAGE}job").json()["state"] == "cancelled"


def test_cancelling_ends_the_process_at_once(client, jobs):
  first = client.portal.call(facts, jobs)["process"]
  number = post(client, body("slow.mp4")).json()["number"]
  client.delete(f"{PAGE}job/{number}", headers=SENT)
  with pytest.raises(ProcessLookupError):
    os.kill(first, 0)
  assert client.portal.call(facts, jobs)["process"] != first


async def facts(jobs):
  return await jobs._facts


def test_a_clip_that_is_refused_or_fatal_is_told_in_one_line(client, tmp_path):
  for name, part in (("broken.mp4", "broken.mp4 is no clip."), ("fatal.mp4", "7")):
    post(client, body(name))
    job = until(client, "failed")
    assert part in job["message"] and "\n" not in job["message"]
    assert list(tmp_path.iterdir()) == []
  post(client)
  until(client, "done")


def test_a_run_that_is_none_is_told_as_the_programs_tell_it(tmp_path):
  async def opened():
    jobs = Jobs({"workdir": "none"}, tmp_path, FAKE)
    try:
      await jobs.open()
    finally:
      await jobs.close()

  with pytest.raises(UserError, match="none holds no run"):
    asyncio.run(opened())


@pytest.mark.parametrize(
  ("content", "status", "part"),
  [
    (b"x", 400, "less"),
    (b"\x00\x00\x00\x09{", 400, "less"),
    (b"\x00\x00\x00\x02[]clip", 400, "no request"),
    (b"\x00\x00\x00\x04" + b"[" * 4, 400, "no request"),
    (b"\xff\xff\xff\xff", 413, "4,294,967,295"),
    (body(clip=b"x" * 3000), 413, "2,000"),
    (body(words="x" * 21_000), 413, "21,000"),
    (body(subtitles="x", suffix=".exe"), 400, ".exe"),
    (body(subtitles="x", suffix="/../../x.srt"), 400, "x.srt"),
    (body().replace(b'"words": null', b'"words": 5   '), 400, "no request"),
  ],
)
def test_what_is_no_clip_is_refused_and_leaves_nothing(
  client, tmp_path, monkeypatch, content, status, part
):
  monkeypatch.setattr(upload, "LARGEST", 2000)
  answer = post(client, content)
  assert answer.status_code == status and part in answer.json()["message"]
  assert list(tmp_path.iterdir()) == []
  assert post(client).status_code == 202


def test_a_body_that_says_that_it_is_huge_is_not_read(tmp_path):
  async def never():
    raise AssertionError("it was read")
    yield b""

  with pytest.raises(upload.TooLarge):
    asyncio.run(upload.take(never(), tmp_path, upload.LARGEST * 2))


def test_a_body_that_does_not_come_is_given_up(tmp_path, monkeypatch):
  async def drips():
    yield body()[:9]
    await asyncio.sleep(60)

  async def trickles():
    yield b"\x00\x01\x00\x00"
    while True:
      yield b" "
      await asyncio.sleep(0.01)

  monkeypatch.setattr(upload, "PATIENCE", 0.05)
  with pytest.raises(upload.TooSlow):
    asyncio.run(upload.take(drips(), tmp_path))
  (tmp_path / "clip").unlink()
  monkeypatch.setattr(upload, "WHOLE", 0.1)
  with pytest.raises(upload.TooSlow):
    asyncio.run(upload.take(trickles(), tmp_path))


@pytest.mark.parametrize(
  ("name", "shown"),
  [
    ("../../etc/passwd", "passwd"),
    ("C:\\x\\clip.mp4", "clip.mp4"),
    ("a\x00\x1b[31m\u202eb.mp4", "a[31mb.mp4"),
    ("<b>.mp4", "<b>.mp4"),
    ("/", "clip"),
    ("\ud800.mp4", ".mp4"),
    ("x" * 500, "x" * 79 + "…"),
  ],
)
def test_a_name_is_shown_and_never_one_of_a_file(tmp_path, name, shown):
  async def stream():
    yield body(name, words="\ud800 said")

  found = asyncio.run(upload.take(stream(), tmp_path))
  assert found.name == shown
  assert sorted(x.name for x in tmp_path.iterdir()) == ["clip", "words.txt"]
  assert found.words.read_text("utf-8") == "? said"
