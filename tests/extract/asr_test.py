"""Words of clips that nobody tells, and whisper's encoder as features."""

import dataclasses
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from mcr_jax.errors import UserError
from mcr_jax.extract import __main__ as program
from mcr_jax.extract import asr, clip, collect, places, table, weights, whisper
from mcr_jax.extract.clip import Extractor
from mcr_jax.extract.places import Found, Places
from mcr_jax.extract.recipe import Recipe
from mcr_jax.extract.transcript import Cue, of_text
from tests.extract import made

RATE = 16_000
DIGEST = "d" * 64
OF_WORDS = Recipe(text="minilm", audio="none", vision="none")


class Ears:
  """Hears two words in whatever it is given."""

  def __init__(self, folder):
    assert str(folder) == "ears"

  def __call__(self, samples):
    return (Cue(("well", "done"), 0.0, 1.0),), "en"


class Letters:
  """Words as their lengths."""

  def words(self, words):
    return np.array([[len(word)] for word in words], np.float32).reshape(-1, 1)


@pytest.fixture
def heard(monkeypatch):
  """An extractor that can hear, of no weights."""
  pytest.importorskip("av")
  found = {"asr": Found(Path("ears"), DIGEST)}
  monkeypatch.setattr(clip, "find", lambda *_, recognise: found if recognise else {})
  monkeypatch.setattr(whisper, "installed", lambda: True)
  monkeypatch.setattr(asr, "Recogniser", Ears)
  monkeypatch.setattr(Extractor, "encoder", Letters())


def test_a_clip_without_transcript_is_heard_and_the_recipe_says_by_what(
  heard, tmp_path
):
  path = tmp_path / "a.mkv"
  path.write_bytes(made.clip(made.tone()))
  extractor = Extractor(OF_WORDS, recognise=True)
  found = extractor(path)
  assert found.text == "well done" and found.notes[0] == clip.RECOGNISED
  assert extractor.recipe.asr_weights == DIGEST
  assert extractor(path, of_text("as told")).notes[0] != clip.RECOGNISED
  mute = tmp_path / "mute.mkv"
  mute.write_bytes(made.clip(None, np.arange(0, 1, 0.1)))
  with pytest.raises(UserError, match="nothing is said"):
    extractor(mute)


def test_words_of_other_languages_are_not_aligned_by_english_sounds(
  heard, tmp_path, monkeypatch
):
  path = tmp_path / "a.mkv"
  path.write_bytes(made.clip(made.tone()))
  german = lambda self, samples: ((Cue(("gut", "so"), 0.0, 1.0),), "de")
  monkeypatch.setattr(Ears, "__call__", german)
  given = []
  times = clip.timing.times
  keep = lambda *args: given.append(args[1]) or times(*args)
  monkeypatch.setattr(clip.timing, "times", keep)
  notes = Extractor(OF_WORDS, recognise=True)(path).notes
  assert "'de'" in notes[0] and notes[1] == clip.TIMED["spread"]
  assert given == [None]


def test_what_was_told_is_kept_whatever_hears_the_rest(heard, tmp_path):
  path = tmp_path / "a.mkv"
  path.write_bytes(made.clip(made.tone()))
  one, other = (Extractor(OF_WORDS, recognise=x) for x in (False, True))
  told, silent = (table.Job("a", path, cues) for cues in (of_text("hi"), None))
  part = lambda job, extractor: collect.part_of(job, extractor, tmp_path)
  assert part(told, one) == part(told, other)
  assert part(silent, one) != part(silent, other)


def test_a_run_hears_by_its_own_weights_and_says_if_it_never_did(heard, tmp_path):
  path = tmp_path / "a.mkv"
  path.write_bytes(made.clip(made.tone()))
  told = OF_WORDS.to_json()
  data = collect.of_clip(path, None, told)
  assert str(data.extras["extract"]) == told
  assert any("were told" in note for note in data.notes)
  own = dataclasses.replace(OF_WORDS, asr_weights=DIGEST).to_json()
  data = collect.of_clip(path, None, own)
  assert str(data.extras["extract"]) == own
  assert not any("were told" in note for note in data.notes)
  assert str(collect.of_clip(path, of_text("hi"), own).extras["extract"]) == own
  with pytest.raises(UserError, match="0000.*dddd"):
    collect.of_clip(path, None, own.replace(DIGEST, "0" * 64))


@pytest.mark.parametrize("asr_flag, there", [("off", True), ("auto", False)])
def test_both_remedies_are_named_before_anything_is_done(
  tmp_path, monkeypatch, asr_flag, there
):
  pytest.importorskip("av")
  (tmp_path / "a.mkv").write_bytes(made.clip(made.tone()))
  monkeypatch.setattr(whisper, "installed", lambda: there)
  out = str(tmp_path / "x.npz")
  with pytest.raises(UserError) as told:
    program.main([str(tmp_path), "--out", out, "--asr", asr_flag])
  for remedy in (".srt", "mcr_jax[asr]", "--get-models", "1 of 1"):
    assert remedy in str(told.value)
  with pytest.raises(UserError, match="mcr_jax"):
    places.find(OF_WORDS, Places(asr=asr_flag), recognise=True)


def test_weights_of_ones_own_are_told_by_all_of_their_files(tmp_path):
  names = (*weights.WHISPER, "vocabulary.txt")
  digests = set()
  for name in (*names, None):
    for one in names:
      (tmp_path / one).write_text("changed" if one == name else one)
    digests.add(places._of_whisper(tmp_path).digest)
  assert len(digests) == 5
  (tmp_path / "tokenizer.json").unlink()  # faster-whisper would download another
  with pytest.raises(UserError, match="tokenizer"):
    places._of_whisper(tmp_path)
  for name in ("openai/whisper-tiny", str(tmp_path / "none")):
    with pytest.raises(UserError, match="nothing is downloaded"):
      places._of_whisper(Path(name))


def test_long_sound_is_cut_where_it_is_quiet():
  sound = np.random.default_rng(0).normal(size=65 * RATE).astype(np.float32)
  for second in (24.0, 45.0):
    sound[int(second * RATE) : int((second + 0.1) * RATE)] = 0
  found = asr.parts(sound)
  assert [a for a, _ in found[1:]] == [b for _, b in found[:-1]]
  assert found[0][0] == 0 and found[-1][1] == len(sound)
  cuts = [b / RATE for _, b in found[:-1]]
  np.testing.assert_allclose(cuts, [24.05, 45.05], atol=0.08)
  assert asr.parts(sound[:0]) == [(0, 0)]


def speech(text):
  """A synthetic voice at 16 kHz."""
  if not shutil.which("espeak-ng"):
    pytest.skip("needs espeak-ng to speak")
  data = subprocess.run(
    ["espeak-ng", "-v", "en-us", "-s", "150", "--stdout", text],
    capture_output=True,
    check=True,
  ).stdout
  x = np.frombuffer(data[44:], np.int16) / 32768
  place = np.arange(0, len(x) / 22_050, 1 / RATE)
  return np.interp(place, np.arange(len(x)) / 22_050, x).astype(np.float32)


@pytest.fixture
def model(brought):
  pytest.importorskip("faster_whisper", reason="needs the extra asr")
  return brought("whisper")


def test_speech_is_heard_and_noise_and_silence_are_not(model, offline):
  hear = asr.Recogniser(model)
  cues, language = hear(speech("the ending made me sad"))
  words = [word.strip(".,").lower() for cue in cues for word in cue.words]
  assert words == "the ending made me sad".split() and language == "en"
  noise = np.random.default_rng(0).standard_normal(RATE).astype(np.float32) * 0.1
  silence, hum = np.zeros(RATE, np.float32), made.tone(2.0)
  for sound in (noise, silence, hum, noise[:99], noise[:0]):
    assert hear(sound) == ((), "en")


def test_states_of_whisper_are_steps_also_beyond_what_it_reads_at_once(model, offline):
  encode = whisper.Encoder(model)
  sound = np.random.default_rng(0).standard_normal(31 * RATE).astype(np.float32) * 0.1
  values, times = encode(sound, 50.0, 31.0)
  assert values.shape == (1550, 384) == (len(times), len(encode.names))
  assert np.isfinite(values).all() and times[-1, 1] == 31.0
  slow, _ = encode(sound[:RATE], 20.0, 1.0)
  quick, _ = encode(sound[:RATE], 50.0, 1.0)
  np.testing.assert_allclose(quick, encode._states(sound[:RATE]), atol=1e-5)
  np.testing.assert_allclose(slow[0], quick[:2].mean(0), atol=1e-5)
  assert encode(sound[:5], 20.0, 0.001)[0].shape == (1, 384)


def test_what_is_no_model_is_refused(model, tmp_path):
  for name in weights.WHISPER:
    (tmp_path / name).write_bytes(b"{}")
  with pytest.raises(UserError):
    whisper.load(tmp_path)
