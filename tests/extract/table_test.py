"""Which clips a table names, and how they are divided."""

import numpy as np
import pytest

from mcr_jax.errors import UserError
from mcr_jax.extract import collect, table
from mcr_jax.extract import recipe as recipes
from mcr_jax.extract.clip import Clip, Features


@pytest.fixture
def folder(tmp_path):
  for name in ("a.mp4", "b.wav", "Raw/v1/1.mp4", "Raw/v1/2.mp4", "notes.doc"):
    path = tmp_path / "clips" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(name.encode())
  return tmp_path / "clips"


def jobs(folder, text):
  path = folder / "labels.csv"
  path.write_text(text)
  return table.jobs(folder, path)


def test_rows_name_clips_and_what_is_said(folder):
  (folder / "b.txt").write_text("beside it")
  found, notes = jobs(folder, "id;label;start;end\na;1.5;2;3.5\nb;-1;;\n")
  assert [x.id for x in found] == ["a", "b"]
  assert found[0].label == "1.5" and (found[0].start, found[0].end) == (2.0, 3.5)
  assert found[0].cues is None and found[1].cues[0].words == ("beside", "it")
  assert len(notes) == 1  # two clips are in no row


def test_tables_of_mmsa_are_read(folder):
  rows = "video_id,clip_id,text,label,mode\nv1,1,hi,0.5,train\nv1,2,you,-1,test\n"
  found, _ = jobs(folder, rows)
  assert [x.id for x in found] == ["v1$_$1", "v1$_$2"]
  assert [x.file.name for x in found] == ["1.mp4", "2.mp4"]
  assert table.splits(found) == (["train", "test"], "")


@pytest.mark.parametrize(
  "text",
  [
    "name,label\na,1\n",
    "id,label\nmissing,1\n",
    "id,label\n1,1\na,1\na,2\n",
    "id,label\na,1,2\n",
    "file,label\n.,1\n",
    "file,label\n/,1\n",
    "id,id\na,b\n",
    "id,start,end\na,3,2\n",
    "id,start\na,soon\n",
    "file,subtitles\na.mp4,none.srt\n",
  ],
)
def test_wrong_tables_are_refused(folder, text):
  with pytest.raises(UserError):
    jobs(folder, text)


def test_a_whole_path_is_one_clip_and_a_dot_no_suffix(folder):
  for name in ("sub/a.mp4", "x.1.mp4", "x.2.mp4"):
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"")
  found, _ = jobs(folder, "file\na.mp4\nx.1\nx.2\nsub/a\n")
  assert [x.id for x in found] == ["a", "x.1", "x.2", "sub/a"]
  assert [x.file for x in found[::3]] == [folder / "a.mp4", folder / "sub/a.mp4"]
  (folder / "Raw/b.mp4").write_bytes(b"")
  (folder / "sub/b.mp4").write_bytes(b"")
  with pytest.raises(UserError, match="2 clips"):
    jobs(folder, "file\nb.mp4\n")


def test_one_message_names_all_rows_that_are_wrong(folder):
  rows = "id\n" + "".join(f"none{i}\n" for i in range(9))
  with pytest.raises(UserError) as error:
    jobs(folder, rows)
  assert "none0" in str(error.value) and "6 more" in str(error.value)


def test_drawn_splits_keep_a_speaker_together(folder):
  found = [
    table.Job(str(i), folder / "a.mp4", None, "1", speaker=f"s{i % 7}")
    for i in range(50)
  ]
  drawn, note = table.splits(found)
  assert note and set(drawn) == {"train", "valid", "test"}
  by = {}
  for job, split in zip(found, drawn, strict=True):
    by.setdefault(job.speaker, set()).add(split)
  assert all(len(x) == 1 for x in by.values())
  with pytest.raises(UserError):
    table.splits([table.Job("a", folder, None, split="train"), *found[:1]])


def made(seconds=1.0, steps=3):
  values = np.arange(steps * 2, dtype=np.float32).reshape(steps, 2)
  times = np.stack([np.arange(steps), np.arange(steps) + 1.0], 1)
  mask = np.arange(steps) != 1
  audio = Features(values, times, mask, ("x", "y"))
  words = np.array(["w"] * steps, str)
  text = Features(values + 1, times, np.ones(steps, bool), (), words)
  return Clip({"text": text, "audio": audio}, ("a note",), seconds, "w " * steps)


def test_parts_are_what_was_kept_and_damaged_ones_are_none(tmp_path):
  path, clip = tmp_path / "p" / "x.npz", made()
  collect.write(path, clip)
  again = collect.read(path)
  assert (again.notes, again.seconds, again.text) == (clip.notes, 1.0, clip.text)
  for name, x in clip.features.items():
    for field in ("values", "times", "mask"):
      np.testing.assert_array_equal(
        getattr(again.features[name], field), getattr(x, field)
      )
    assert again.features[name].names == x.names
  path.write_bytes(path.read_bytes()[:-40])
  assert collect.read(path) is None


def test_labels_below_zero_are_numbers_and_words_are_classes(folder):
  job = lambda label: table.Job("a" + label, folder / "a.mp4", None, label, "train")
  data = lambda *labels: collect.dataset(
    [job(x) for x in labels], [made()] * len(labels), recipes.Recipe().to_json(), "t"
  )
  assert data("-1", "2").labels.tolist() == [-1.0, 2.0]
  assert data("0", "2").labels.dtype.kind == "i"
  named = data("happy", "sad", "happy")
  assert named.class_names == ("happy", "sad") and named.labels.tolist() == [0, 1, 0]
  with pytest.raises(UserError):
    data("1", "N/B")


def test_recipes_are_equal_or_say_where_they_differ():
  one = recipes.Recipe(audio_rate=10.0)
  assert recipes.from_json(one.to_json(), "here") == one
  assert recipes.difference(one, recipes.Recipe()) == ["audio_rate: 10.0 -> 20.0"]
  assert one.digest != recipes.Recipe().digest
  huge = one.to_json().replace("10.0", "1" + "0" * 400)
  for text in (
    "{",
    "[]",
    huge,
    "[" * 100_000,
    '{"version": 9}',
    one.to_json().replace("10.0", '"fast"'),
  ):
    with pytest.raises(UserError):
      recipes.from_json(text, "here")
  for wrong in (
    {"audio_rate": 0.0},
    {"text": "gpt"},
    {"max_seconds": -1.0},
    {"max_seconds": 1e12},
  ):
    with pytest.raises(UserError):
      recipes.Recipe(**wrong)


def test_a_table_may_begin_with_a_mark_of_its_encoding(folder):
  path = folder / "labels.csv"
  path.write_bytes("id,label,text\na,1,h\u00e9\n".encode("utf-8-sig"))
  found, _ = table.jobs(folder, path)
  assert [(x.id, x.label, x.cues[0].words) for x in found] == [("a", "1", ("h\u00e9",))]


def test_subtitles_lie_by_the_table_or_the_clips(folder, tmp_path):
  (tmp_path / "secret.txt").write_text("not yours")
  (tmp_path / "clips" / "sub").mkdir()
  for name in ("clips/sub/a.txt", "clips/b.txt"):
    (tmp_path / name).write_text("words")
  found, _ = jobs(folder, "file,subtitles\na.mp4,sub/a.txt\nb.wav,b.txt\n")
  assert [x.cues[0].words for x in found] == [("words",)] * 2
  (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
  for name in ("../secret.txt", str(tmp_path / "secret.txt"), "link.txt"):
    with pytest.raises(UserError, match="lie in the folder"):
      jobs(folder, f"file,subtitles\na.mp4,{name}\n")


def test_no_transcript_is_read_where_no_words_are_wanted(folder):
  (folder / "a.srt").write_text("no subtitle at all")
  with pytest.raises(UserError):
    table.jobs(folder, None)
  found, _ = table.jobs(folder, None, words=False)
  assert all(job.cues is None for job in found)
  path = folder / "labels.csv"
  path.write_text("file,subtitles\na.mp4,a.srt\n")
  assert table.jobs(folder, path, words=False)[0][0].cues is None


@pytest.mark.parametrize(
  "count, parts",
  [(1, ["train"]), (2, ["train", "valid"]), (3, ["test", "train", "valid"])],
)
def test_few_videos_are_for_training_first_and_a_note_says_so(folder, count, parts):
  found = [table.Job(str(i), folder, None, video=str(i)) for i in range(count)]
  drawn, note = table.splits(found)
  assert sorted(drawn) == parts
  assert ("no test" in note or "neither" in note) == (count < 3)
