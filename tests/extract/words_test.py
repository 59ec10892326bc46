"""Transcripts, and when their words are said."""

import math
import shutil
import subprocess

import numpy as np
import pytest

from mcr_jax.errors import UserError
from mcr_jax.extract import timing, transcript
from mcr_jax.extract.transcript import Cue

SRT = """1
00:00:01,000 --> 00:00:02,500
<i>Hello</i> there

2
00:00:03,000 --> 00:00:04,000
you
"""


def test_subtitles_are_cues_with_times(tmp_path):
  pytest.importorskip("pysubs2")
  path = tmp_path / "a.srt"
  path.write_text(SRT)
  assert transcript.read(path) == (
    Cue(("Hello", "there"), 1.0, 2.5),
    Cue(("you",), 3.0, 4.0),
  )
  (tmp_path / "a.vtt").write_text("WEBVTT\n\n00:01.000 --> 00:02.500\nHello there\n")
  assert transcript.read(tmp_path / "a.vtt") == (Cue(("Hello", "there"), 1.0, 2.5),)


@pytest.mark.parametrize(
  "name, data",
  [
    ("a.srt", b"just text"),
    ("a.txt", b"caf\xe9"),
    ("b.txt", b"\xff\xfeabc"),
    ("a.doc", b"x"),
    ("b.srt", b"\0" * 9),
  ],
)
def test_what_is_no_transcript_is_refused(tmp_path, name, data):
  pytest.importorskip("pysubs2")
  (tmp_path / name).write_bytes(data)
  with pytest.raises(UserError):
    transcript.read(tmp_path / name)


def test_text_in_utf16_and_nothing_at_all(tmp_path):
  (tmp_path / "a.txt").write_bytes("two wörds".encode("utf-16"))
  assert transcript.read(tmp_path / "a.txt")[0].words == ("two", "wörds")
  assert transcript.of_text("  ") == ()


def test_a_part_has_the_cues_in_it_by_its_own_time():
  cues = (Cue(("a",), 0.0, 1.0), Cue(("b",), 1.5, 3.5), Cue(("c",), 4.0, 5.0))
  assert transcript.between(cues, 2.0, 4.0) == (Cue(("b",), 0.0, 1.5),)
  with pytest.raises(UserError):
    transcript.between(transcript.of_text("a b"), 1.0, 2.0)


def test_words_share_a_span_by_their_letters():
  spans = timing.spread(("ab", "abcd"), 1.0, 4.0)
  np.testing.assert_allclose(spans, [[1, 2], [2, 4]])


def test_cues_of_single_words_are_their_times():
  cues = (Cue(("a",), 0.1, 0.2), Cue(("b",), 0.4, 0.9))
  found = timing.times(cues, np.zeros(16_000, np.float32), 1.0)
  np.testing.assert_array_equal(found.times, [[0.1, 0.2], [0.4, 0.9]])
  assert found.how == ("subtitles",) * 2


def test_without_sound_words_are_spread_over_their_cues():
  cues = (Cue(("a", "b"), 1.0, 2.0), Cue(("c",), 3.0, 9.0))
  found = timing.times(cues, None, 4.0)
  np.testing.assert_allclose(found.times, [[1, 1.5], [1.5, 2], [3, 4]])
  assert found.how == ("spread",) * 3


def spoken(words, gap=0.03):
  """Words by a synthetic voice, one by one, and when each is said."""
  parts, times, at = [np.zeros(4800)], [], 0.3
  for word in words:
    data = subprocess.run(
      ["espeak-ng", "-v", "en-us", "-s", "150", "--stdout", word],
      capture_output=True,
      check=True,
    ).stdout
    x = np.frombuffer(data[44:], np.int16) / 32768
    x = np.interp(
      np.arange(0, len(x) / 22_050, 1 / 16_000), np.arange(len(x)) / 22_050, x
    )
    loud = np.flatnonzero(np.abs(x) > 0.01)
    x = x[loud[0] : loud[-1] + 1]
    times.append((at, at + len(x) / 16_000))
    parts += [x, np.zeros(int(gap * 16_000))]
    at += len(x) / 16_000 + gap
  return np.concatenate([*parts, np.zeros(4800)]).astype(np.float32), np.array(times)


def test_aligned_words_begin_when_they_are_said():
  pytest.importorskip("pocketsphinx")
  if not shutil.which("espeak-ng"):
    pytest.skip("needs espeak-ng to speak")
  words = "the acting felt good but i laughed a lot at Zorblat - during this story"
  said = [w for w in words.split() if w != "-"]
  sound, truth = spoken(said)
  found = timing.times(transcript.of_text(words), sound, len(sound) / 16_000)
  assert set(found.how) == {"aligned"}
  kept = np.array([w != "-" for w in found.words])
  assert np.abs(found.times[kept] - truth)[:, 0].mean() < 0.08
  assert (np.diff(found.times[:, 0]) >= 0).all()
  dash = found.times[~kept][0]
  assert dash[0] == dash[1]


def test_what_cannot_be_aligned_is_spread_and_said_so():
  pytest.importorskip("pocketsphinx")
  noise = np.random.default_rng(0).standard_normal(4000).astype(np.float32) * 0.1
  words = transcript.of_text("a transcript with far more words than its sound has room")
  found = timing.times(words, noise, 0.25)
  assert set(found.how) == {"spread"}
  assert np.isfinite(found.times).all() and not math.isnan(found.times.sum())


@pytest.mark.parametrize("sign", ["<", "<a", "{", "{\\"])
def test_a_subtitle_without_end_is_refused_at_once(tmp_path, sign):
  pytest.importorskip("pysubs2")
  path = tmp_path / "a.srt"
  path.write_text(SRT + sign * 30_000)
  with pytest.raises(UserError, match="characters"):
    transcript.read(path)


def test_words_behind_the_end_of_the_clip_are_told():
  cues = (Cue(("a", "b"), 0.0, 0.5), Cue(("c",), 5.0, 6.0))
  found = timing.times(cues, None, 1.0)
  assert found.how == ("spread", "spread", "outside")
  np.testing.assert_array_equal(found.times[2], [1, 1])
