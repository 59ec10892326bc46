"""Every word takes the mean of the steps that it shares time with, or is a hole."""

import dataclasses

import numpy as np
import pytest

from mcr_jax.data import Dataset, Modality, alignment, load, npz, readers
from mcr_jax.data.__main__ import main
from mcr_jax.data.load import digest, lengths_of
from mcr_jax.errors import UserError
from tests.data.readers_files_test import csd_files

WORDS = (3, 0, 5, 1)
SECONDS = 2.0  # of every sample
RATE = {"audio": 20, "vision": 7}


def dataset(seed=0, **changes):
  """Four samples, one of them without words; values are noise, with holes."""
  random = np.random.default_rng(seed)
  count = len(WORDS)
  edges = [np.sort(random.uniform(0, SECONDS, 2 * n)) for n in WORDS]
  times = {"text": [x.reshape(-1, 2) for x in edges]}
  for m, rate in RATE.items():
    grid = np.arange(int(SECONDS * rate) + 1) / rate
    times[m] = [np.stack([grid[:-1], grid[1:]], 1)] * count
  made = {}
  for m, found in times.items():
    steps = sum(map(len, found))
    made[m] = Modality(
      random.normal(size=(steps, 3)).astype(np.float32),
      np.concatenate([[0], np.cumsum([len(x) for x in found])]),
      np.ones(steps, bool) if m == "text" else random.random(steps) < 0.8,
      times=np.concatenate(found),
      words=np.array(["so"] * steps) if m == "text" else None,
      names=("a", "b", "c"),
    )
  fields = {
    "splits": np.array(["train", "train", "valid", "test"]),
    "labels": random.normal(size=count).astype(np.float32),
  }
  return Dataset(np.array(list("abcd")), made, **fields | changes)


def changed(data, name, **fields):
  """With other fields of one modality."""
  made = dict(data.modalities)
  made[name] = dataclasses.replace(made[name], **fields)
  return dataclasses.replace(data, modalities=made)


def slowly(x, target):
  """The definition, a number at a time."""
  values, mask = np.zeros((len(target.mask), x.width)), np.zeros(len(target.mask), bool)
  for i in range(len(x)):
    for w in range(*target.offsets[i : i + 2]):
      first, last = target.times[w]
      over = [
        x.values[t].astype(float)
        for t in range(*x.offsets[i : i + 2])
        if x.mask[t] and x.times[t, 0] < last and x.times[t, 1] > first
      ]
      if over:
        values[w], mask[w] = sum(over) / len(over), True
  return values, mask


def close(one, other):
  """Whether data sets have the same steps, rounded elsewhere."""
  assert one.ids.tolist() == other.ids.tolist()
  for m, x in one.modalities.items():
    np.testing.assert_array_equal(x.offsets, other.modalities[m].offsets)
    np.testing.assert_array_equal(x.mask, other.modalities[m].mask)
    np.testing.assert_allclose(x.values, other.modalities[m].values, rtol=1e-5)


def test_a_word_has_the_mean_of_the_steps_that_it_shares_time_with():
  data = dataset()
  text, made = data.modalities["text"], alignment.to_steps(data, "text").modalities
  for m in RATE:
    values, mask = slowly(data.modalities[m], text)
    np.testing.assert_array_equal(made[m].mask, mask)
    np.testing.assert_allclose(made[m].values, values, rtol=1e-6)
    assert made[m].offsets is text.offsets and made[m].names == ("a", "b", "c")
    np.testing.assert_array_equal(made[m].times, text.times)
    assert made[m].words is text.words
  assert made["text"] is text and text.words is not None


def test_what_is_constant_stays_so_and_time_becomes_the_words_own():
  grid = np.arange(4000) / 100
  times = np.stack([grid, grid + 0.01], 1)
  words = np.array([[0.0, 0.5], [3.0, 3.02], [10.0, 39.0]])
  values = np.stack([np.full(4000, 0.1), times.mean(1)], 1).astype(np.float32)
  pooled, found = alignment.pool(values, times, np.ones(4000, bool), words)
  assert found.all()
  np.testing.assert_array_equal(pooled[:, 0], np.float32(0.1))
  np.testing.assert_allclose(pooled[:, 1], words.mean(1), rtol=1e-6)


def test_sums_are_in_float64():
  values = np.array([[1e8], [1.0], [-1e8]], np.float32)
  times = np.array([[0, 1], [1, 2], [2, 3]])
  pooled, _ = alignment.pool(values, times, np.ones(3, bool), np.array([[0, 3]]))
  assert pooled.item() == np.float32(1 / 3)


def test_parts_of_a_long_sample_are_as_the_whole(monkeypatch):
  data = dataset()
  whole = alignment.to_steps(data, "text").modalities["audio"].values
  monkeypatch.setattr(alignment, "BLOCK", 1)
  parts = alignment.to_steps(data, "text").modalities["audio"].values
  np.testing.assert_array_equal(parts, whole)


def test_neither_order_nor_padding_nor_what_is_in_holes_changes_anything(tmp_path):
  data = dataset()
  made = alignment.to_steps(data, "text")
  order = np.array([2, 0, 3, 1])
  other = alignment.to_steps(data.select(order), "text")
  assert digest(other) == digest(made.select(order))
  audio = data.modalities["audio"]
  junk = np.where(audio.mask[:, None], audio.values, np.nan)
  assert digest(alignment.to_steps(changed(data, "audio", values=junk), "text")) == (
    digest(made)
  )
  arrays = {"id": data.ids, "split": data.splits, "label": data.labels}
  for m, x in data.modalities.items():
    room = int(x.lengths.max()) + 4
    arrays[m], arrays[f"{m}_mask"] = x.padded(np.arange(len(data)), room)
    arrays[f"{m}_times"] = np.zeros((len(data), room, 2))
    for i in range(len(data)):
      own = x.times[slice(*x.offsets[i : i + 2])]
      arrays[f"{m}_times"][i, : len(own)] = own
  np.savez(tmp_path / "padded.npz", **arrays)
  npz.write(tmp_path / "ragged.npz", data)
  config = {"align": "text", "path": str(tmp_path / "padded.npz")}
  padded = load(config, splits=())
  ragged = load(config | {"path": str(tmp_path / "ragged.npz")}, splits=())
  assert digest(padded) == digest(ragged)


def test_aligned_data_stays_as_it_is_and_all_is_of_one_length(tmp_path):
  """Also where words overlap, one has no time, and the last ones find nothing."""
  data = dataset()
  times = data.modalities["text"].times + [-0.2, 0.2]
  times[3] = np.nan
  quiet = data.modalities["audio"].times[:, 1] < 0.5
  audio = {"mask": data.modalities["audio"].mask & quiet}
  data = changed(changed(data, "text", times=times), "audio", **audio)
  once = alignment.to_steps(data, "text")
  assert not once.modalities["audio"].mask[7]
  npz.write(tmp_path / "x.npz", once)
  read = npz.read(tmp_path / "x.npz")
  assert lengths_of(read)["audio"] < max(WORDS)
  for twice in (alignment.to_steps(once, "text"), alignment.to_steps(read, "L")):
    assert digest(once) == digest(twice)
    assert set(lengths_of(twice).values()) == {max(WORDS)}
  config = {"path": str(tmp_path / "x.npz"), "align": "text"}
  assert load(config, splits=()).ids.tolist() == ["a", "c", "d"]  # b says nothing


def test_one_line_says_what_share_of_the_words_finds_nothing():
  audio = dataset().modalities["audio"]
  late = np.where(audio.times[:, :1] < 1.0, audio.times, np.nan)
  (note,) = alignment.to_steps(changed(dataset(), "audio", times=late), "text").notes
  _, mask = slowly(dataclasses.replace(audio, times=late), dataset().modalities["text"])
  assert f"audio {1 - mask.mean():.1%}" in note and "9 words" in note


def test_files_of_intervals_align_as_what_is_converted_of_them(tmp_path):
  csd_files(tmp_path / "c")
  assert main(["convert", str(tmp_path / "c"), str(tmp_path / "x.npz")]) == 0
  config = {"path": str(tmp_path / "c"), "align": "text"}
  other = config | {"path": str(tmp_path / "x.npz")}
  one, two = (load(c, for_training=False, splits=()) for c in (config, other))
  close(one, two)
  convert = ["convert", str(tmp_path / "x.npz"), str(tmp_path / "y.npz")]
  assert main([*convert, "--align", "text"]) == 0
  close(npz.read(tmp_path / "y.npz"), one)


@pytest.mark.parametrize("name", ["text", "vision"])
def test_what_has_no_times_is_named(name, tmp_path):
  data = changed(dataset(), name, times=None)
  with pytest.raises(UserError, match=f"{name} has none.*'{name}_times'"):
    alignment.to_steps(data, "text")
  npz.write(tmp_path / "x.npz", data)
  chosen = {"path": str(tmp_path / "x.npz"), "align": "text"}
  with pytest.raises(UserError, match=f"{name} has none"):
    load(chosen, splits=())
  if name == "vision":  # what is not read needs none
    load(chosen | {"modalities": ["audio"]}, splits=())


@pytest.mark.parametrize(
  ("name", "times", "words"),
  [
    ("audio", lambda x: x * np.nan, "audio has none"),
    ("audio", lambda x: x[:, ::-1], "ends after it begins"),
    ("text", lambda x: x[:, ::-1], "ends after it begins"),
    ("audio", lambda x: x * 1000, "one clock.* 0 to 2000"),
    ("text", lambda x: x * 1000, "one clock"),
    ("vision", lambda x: x - 50, "one clock.* -50 to -48"),
    ("vision", lambda x: x + 50, "one clock"),
  ],
)
def test_times_that_cannot_be_seconds_of_one_clock_are_refused(name, times, words):
  data = dataset()
  odd = changed(data, name, times=times(data.modalities[name].times))
  with pytest.raises(UserError, match=words):
    alignment.to_steps(odd, "text")


def test_odd_times_that_say_something_are_taken_as_they_are():
  """Steps in any order, words that overlap, times before 0, and some unknown."""
  data = dataset()
  audio, text = data.modalities["audio"], data.modalities["text"]
  wide = np.stack([text.times[:, 0] - 0.3, text.times[:, 1] + 0.3], 1)
  wide[0] = np.nan
  back = audio.times.copy()
  back[:40], values = back[:40][::-1].copy(), audio.values.copy()
  values[:40], mask = values[:40][::-1].copy(), audio.mask.copy()
  mask[:40] = mask[:40][::-1].copy()
  moved = changed(data, "audio", times=back - 1, values=values, mask=mask)
  moved = changed(moved, "text", times=wide - 1)
  moved = changed(moved, "vision", times=data.modalities["vision"].times - 1)
  one = alignment.to_steps(moved, "text").modalities["audio"]
  other = alignment.to_steps(changed(data, "text", times=wide), "text")
  np.testing.assert_allclose(one.values, other.modalities["audio"].values, rtol=1e-5)
  assert not one.mask[0] and one.mask[1:].any()


def test_a_point_in_time_belongs_to_what_begins_there():
  frames = np.stack([np.arange(4) / 10] * 2, 1)
  words = np.array([[0.0, 0.1], [0.1, 0.2], [0.3, 0.3]])
  shared = alignment.overlaps(frames, words)
  np.testing.assert_array_equal(shared, np.eye(4, dtype=bool)[[0, 1, 3]])
  grid = np.arange(5) / 10
  steps = np.stack([grid[:-1], grid[1:]], 1)
  assert alignment.overlaps(steps, words)[2].tolist() == [False, False, False, True]


def test_a_text_without_words_leaves_nothing_and_says_so():
  data = dataset().select(np.array([1]))
  made = alignment.to_steps(changed(data, "text", times=None), "text")
  assert not any(x.lengths.any() for x in made.modalities.values())
  assert "0 words" in made.notes[-1]


def without_times(data):
  for m in data.modalities:
    data = changed(data, m, times=None)
  return data


def test_data_of_a_run_elsewhere_may_be_aligned_already():
  bare = without_times(alignment.to_steps(dataset(), "text"))
  taken = alignment.to_steps(bare, "text", shared=True)
  assert digest(taken) == digest(bare) and "taken as aligned" in taken.notes[-1]
  with pytest.raises(UserError, match="text has none"):
    alignment.to_steps(bare, "text")
  audio = bare.modalities["audio"]
  longer = np.concatenate([[0], np.cumsum([3, 0, 5, 2])])
  odd = [
    Modality(np.zeros((10, 3), np.float32), longer, np.ones(10, bool)),
    audio.shortened(np.array([1, 1, 1, 0])),
  ]
  odd = [
    dataclasses.replace(bare, modalities=bare.modalities | {"audio": x}) for x in odd
  ]
  for frames in (without_times(dataset()), *odd):
    with pytest.raises(UserError, match="text has none"):
      alignment.to_steps(frames, "text", shared=True)


def test_inspect_offers_what_has_times(tmp_path, capsys):
  npz.write(tmp_path / "x.npz", dataset())
  main(["inspect", str(tmp_path / "x.npz")])
  assert "--config.data.align=text" in capsys.readouterr().out
  npz.write(tmp_path / "y.npz", changed(dataset(), "audio", times=None))
  main(["inspect", str(tmp_path / "y.npz")])
  assert "data.align" not in capsys.readouterr().out


def test_words_of_mosi_find_the_time_at_which_they_are_said(real_data):
  with np.load(real_data("cmu-mosi/mosi_words.npz")) as file:
    offsets = file["offsets"][:201].astype(np.int64)
    count = int(offsets[-1])
    times = np.stack([file["word_start"], file["word_end"]], 1)[:count].astype(float)
  text = Modality(np.ones((count, 1), np.float32), offsets, np.ones(count, bool),
                  times=times)  # fmt: skip
  ends = [times[a:b, 1].max() for a, b in zip(offsets, offsets[1:], strict=False)]
  grids = [np.arange(int(end * 50) + 1) / 50 for end in ends]
  frames = np.concatenate([np.stack([x, x + 0.02], 1) for x in grids])
  starts = np.concatenate([[0], np.cumsum(list(map(len, grids)))])
  middle = frames.mean(1, keepdims=True).astype(np.float32)
  audio = Modality(middle, starts, np.ones(len(frames), bool), times=frames)
  made = alignment.to_steps(
    Dataset(np.arange(200).astype(str), {"text": text, "audio": audio}), "text"
  )
  found = made.modalities["audio"]
  assert found.mask.all()
  assert np.abs(found.values[:, 0] - times.mean(1)).max() < 0.0201


def test_readers_fill_in_times_of_intervals(tmp_path):
  csd_files(tmp_path / "c")
  vision = readers.read(tmp_path / "c").modalities["vision"]
  np.testing.assert_allclose(vision.times[[0, 15], 0], [0, 0.5])
