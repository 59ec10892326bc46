"""Dialogues, turns, speakers, videos and labels by modality come from every format."""

import dataclasses

import numpy as np
import pytest

from mcr_jax.data import npz, readers
from mcr_jax.data.__main__ import main
from mcr_jax.data.checks import validate
from mcr_jax.data.load import digest, load
from mcr_jax.data.units import Units
from mcr_jax.errors import UserError
from tests.data import writers
from tests.data.npz_test import arrays
from tests.data.readers_conversation_test import corpus as talks
from tests.data.readers_files_test import csd_files

COLUMNS = {
  "dialogue_id": np.array(["x", "x", "y", "z"]),
  "video_id": np.array([4, 4, 5, 6], np.uint8),
  "turn": np.array([3, 1, 0, 0], np.int16),
  "speaker": np.array([b"Joey", b"Ross", b"Joey", b"Ross"]),
  "label_T": np.array([0.5, np.nan, 1.0, -1.0]),
  "label_V": np.array([0.5, 2.0, 1.0, -1.0], np.float32),
}


@pytest.fixture
def file(tmp_path):
  def write(**changes):
    path = tmp_path / "x.npz"
    np.savez(path, **arrays(**changes))
    return path

  return write


def test_a_feature_file_keeps_its_columns_with_their_roles(file):
  columns = npz.read(file(**COLUMNS)).columns
  assert {name: x.role for name, x in columns.items()} == {
    "dialogue_id": "dialogue",
    "video_id": "video",
    "turn": "turn",
    "speaker": "speaker",
    "label_T": "modality_label",
    "label_V": "modality_label",
  }
  assert columns["speaker"].values.tolist() == ["Joey", "Ross", "Joey", "Ross"]
  assert columns["turn"].values.dtype == columns["video_id"].values.dtype == np.int64
  assert (columns["label_T"].modality, columns["label_V"].modality) == (
    "text",
    "vision",
  )
  np.testing.assert_array_equal(columns["label_T"].known, [True, False, True, True])
  assert columns["label_V"].mask is None


def assert_same_columns(one, other):
  assert list(one.columns) == list(other.columns)
  for name, column in one.columns.items():
    np.testing.assert_array_equal(column.values, other.columns[name].values)
    np.testing.assert_array_equal(column.known, other.columns[name].known)
    assert (column.role, column.modality) == (
      other.columns[name].role,
      other.columns[name].modality,
    )


def test_converting_keeps_them(file, tmp_path):
  main(["convert", str(file(**COLUMNS)), str(tmp_path / "y.npz")])
  assert_same_columns(npz.read(file(**COLUMNS)), npz.read(tmp_path / "y.npz"))


def test_inspecting_shows_them(file, capsys):
  main(["inspect", str(file(**COLUMNS))])
  shown = capsys.readouterr().out
  for line in (
    "  dialogue_id: 3 different, of 1 to 2 utterances",
    "  turn: 0 to 3",
    "  speaker: 2 different, of 2 to 2 utterances",
    "  label_T: labels by text, 1 missing",
    "  label_V: labels by vision",
  ):
    assert line in shown.splitlines()


def test_labels_by_modality_may_still_be_chosen_as_the_labels(file):
  chosen = load({"path": str(file(**COLUMNS)), "label": "label_V"})
  np.testing.assert_array_equal(chosen.labels, COLUMNS["label_V"])


@pytest.mark.parametrize(
  "name, values",
  [
    ("dialogue_id", np.array(["x", "x", "y"])),
    ("dialogue_id", np.array([[1, 2], [1, 3], [1, 4], [1, 5]])),
    ("turn", np.array(["1", "2", "3", "4"])),
    ("turn", np.array([0.5, 1, 2, 3])),
    ("turn", np.array([0, 1, np.nan, 3])),
    ("speaker", np.array([True, False, True, True])),
    ("video_id", np.array([0.5, 1, 2, 3])),
    ("label_A", np.array([0.5, 1, 2])),
  ],
)
def test_a_column_of_another_length_or_type_is_named(file, name, values):
  with pytest.raises(UserError, match=f"x.npz: '{name}' "):
    npz.read(file(**{name: values}))


def test_features_of_speakers_stay_features(file):
  dataset = npz.read(file(speaker=np.ones((4, 3))))
  assert "speaker" in dataset.modalities and not dataset.columns


def test_a_column_of_a_data_set_that_python_made_has_its_length(file):
  dataset = npz.read(file(**COLUMNS))
  short = dataset.columns["turn"].select(np.arange(3))
  wrong = dataclasses.replace(dataset, columns={"turn": short})
  with pytest.raises(UserError, match="'turn' has 3 entries, there are 4 ids"):
    validate(wrong)


def test_a_digest_covers_the_columns_that_are_read_and_no_others(file):
  def changed(of=(), **columns):
    return digest(validate(npz.read(file(**{**COLUMNS, **columns}))), of)

  plain = digest(validate(npz.read(file())))
  assert changed() == plain and changed(("index",)) == plain
  talk = ("turn", "speaker", "index")
  assert changed(talk) != plain
  # Other names for dialogues and speakers say the same.
  names = np.array([7, 7, 1, 2])
  assert changed(talk, dialogue_id=names, speaker=np.array(list("jrjr"))) == changed(
    talk
  )
  assert changed(talk, turn=np.array([1, 3, 0, 0])) != changed(talk)
  # Not by the speakers, whose numbers go with the order.
  order = np.array([1, 3, 0, 0])
  assert changed(("turn",), turn=order) != changed(("turn",))
  assert changed(talk, speaker=np.array(list("jjjr"))) != changed(talk)
  assert changed(talk, label_V=COLUMNS["label_V"] + 1) == changed(talk)
  face = ("index", "label_vision")
  assert changed(face, label_V=COLUMNS["label_V"] + 1) != changed(face)


MULTI = {
  "label": np.array([[0, 3], [1, 0], [1, 1], [0, 2]]),
  "class_names": np.array([["no", "yes", "", ""], ["n", "e", "s", "w"]]),
  "label_names": np.array(["act", "way"]),
}


def test_several_labels_with_classes_of_their_own_are_read_and_written(file, tmp_path):
  dataset = validate(npz.read(file(**MULTI)))
  assert (dataset.task, dataset.outputs) == ("multitask", (2, 4))
  assert dataset.class_names == (("no", "yes"), ("n", "e", "s", "w"))
  assert dataset.target_names == ("act", "way")
  npz.write(tmp_path / "y.npz", dataset)
  again = validate(npz.read(tmp_path / "y.npz"))
  assert digest(again) == digest(dataset) and again.class_names == dataset.class_names


def test_without_names_of_classes_the_config_says_that_they_are_several(file, tmp_path):
  group = {"path": str(file(label=MULTI["label"])), "task": "multitask"}
  dataset = load(group)
  assert dataset.class_names == (("0", "1"), ("0", "1", "2", "3"))
  npz.write(tmp_path / "y.npz", dataset)
  assert npz.read(tmp_path / "y.npz").task == "multitask"


def test_numbers_of_a_regression_have_names(file, tmp_path):
  names = np.array(["joy", "fear"])
  dataset = validate(npz.read(file(label=np.ones((4, 2)), label_names=names)))
  assert dataset.target_names == ("joy", "fear") and dataset.task == "regression"


@pytest.mark.parametrize("kind", [np.float32, np.int64])
def test_an_utterance_without_label_is_written_without_one(file, tmp_path, kind):
  label = np.array([1, 0, 0, 1], kind)
  label[1] = -1
  if kind is np.float32:
    label[1] = np.nan
  dataset = validate(npz.read(file(**COLUMNS, label=label)))
  assert "1 of 4 utterances have no label" in dataset.notes[-1]
  npz.write(tmp_path / "y.npz", dataset)
  again = validate(npz.read(tmp_path / "y.npz"))
  np.testing.assert_array_equal(again.label_mask, [True, False, True, True])
  assert digest(again) == digest(dataset)


# Other formats.


def table(tmp_path, header, *rows):
  np.save(tmp_path / "t.npy", np.ones(3, np.float32))
  lines = [f"id,text,{header}", *(f"u{i},t.npy,{row}" for i, row in enumerate(rows))]
  path = tmp_path / "x.csv"
  path.write_text("\n".join(lines) + "\n")
  return path


def test_a_table_has_the_same_columns(tmp_path):
  path = table(
    tmp_path,
    "split,label,dialogue_id,turn,speaker,label_A",
    "train,0.5,a,1,Ross,1.5",
    "train,,a,0,Joey,",
    "test,1.0,7,0,Ross,2",
  )
  dataset = readers.read(path)
  assert list(dataset.modalities) == ["text"]
  assert Units.of(dataset, "dialogue").members.tolist() == [[1, 0], [2, -1]]
  assert dataset.columns["speaker"].values.tolist() == ["Ross", "Joey", "Ross"]
  np.testing.assert_array_equal(dataset.columns["label_A"].known, [True, False, True])
  checked = validate(dataset, splits=("train",))
  np.testing.assert_array_equal(checked.label_mask, [True, False, True])


def test_labels_by_modality_of_a_table_are_named_like_the_labels(tmp_path):
  path = table(tmp_path, "label,label_V", "sad,glad", "glad,", "glad,glad")
  assert readers.read(path).columns["label_V"].values.tolist() == [0, -1, 0]


@pytest.mark.parametrize(
  "header, row, message",
  [
    ("label,turn", "1,first", "'turn' of row 2 is 'first'; right is a whole number"),
    ("label,dialogue_id", "1,", "row 2 has no 'dialogue_id'"),
    ("label,speaker", "1,", "row 2 has no 'speaker'"),
    ("label,label_T", "0.5,sad", "'label_T': 1 of 1 labels .* row 2 'sad'"),
    ("label,label_T", "sad,glad", "'label_T' of row 2 is 'glad'; the labels are sad"),
    ("label,turn", f"1,{10**30}", "'turn' of row 2 is '10*'; right is a whole number"),
  ],
)
def test_a_mistake_in_a_table_names_the_row(tmp_path, header, row, message):
  with pytest.raises(UserError, match=message):
    readers.read(table(tmp_path, header, row))


def test_a_table_may_name_files_of_speaker_features(tmp_path):
  dataset = readers.read(table(tmp_path, "label,speaker", "1,t.npy"))
  assert list(dataset.modalities) == ["text", "speaker"] and not dataset.columns


def test_conversations_keep_dialogues_turns_and_speakers(tmp_path):
  content = list(writers.conversation_content(talks(7), "meld9"))
  content[1] = {key: [[0, 1, 0], [1, 0, 0]] for key in content[1]}
  dataset = readers.read(writers.dump(tmp_path / "x", tuple(content)))
  units = Units.of(dataset, "dialogue")
  np.testing.assert_array_equal(units.members, np.arange(48).reshape(24, 2))
  assert dataset.columns["dialogue_id"].values[:3].tolist() == ["d00", "d00", "d01"]
  assert dataset.columns["speaker"].values[:4].tolist() == [1, 0, 1, 0]
  assert not any("speakers" in note for note in dataset.notes)


def test_speakers_of_iemocap_are_names(tmp_path):
  content = list(writers.conversation_content(talks(6), "iemocap"))
  content[1] = {key: ["F", "M"] for key in content[1]}
  dataset = readers.read(writers.dump(tmp_path / "x", tuple(content)))
  assert dataset.columns["speaker"].values[:4].tolist() == ["F", "M", "F", "M"]


@pytest.mark.parametrize(
  "own", [["F"], "FM", [[0, 1], [1, 1]], [[0, 1], [1]], [None, "M"], [{}, {}]]
)
def test_speakers_that_are_none_are_left_out_and_noted(tmp_path, own):
  content = list(writers.conversation_content(talks(6), "iemocap"))
  content[1] = dict.fromkeys(content[1], own)
  dataset = readers.read(writers.dump(tmp_path / "x", tuple(content)))
  assert "speaker" not in dataset.columns and "dialogue_id" in dataset.columns
  left = [entry for entry in dataset.ledger if not entry.use]
  assert [entry.count for entry in left if entry.name in ("speakers", "part 2")]


def test_labels_by_modality_and_videos_of_mmsa(tmp_path):
  corpus = writers.invented()
  content = writers.mmsa_content(corpus, unimodal=True)
  dataset = readers.read(writers.dump(tmp_path / "x", content))
  for k, name in enumerate("TAV", 1):
    column = dataset.columns[f"label_{name}"]
    assert column.role == "modality_label"
    np.testing.assert_allclose(column.values, corpus.labels / k, rtol=1e-6)
  assert dataset.columns["video_id"].values.tolist() == corpus.videos
  assert dataset.columns["turn"].values.tolist() == list(map(int, corpus.clips))


def test_clips_of_mult_are_turns_in_the_order_of_their_times(tmp_path):
  corpus = writers.invented()
  corpus.clips = [str(9.5 - i) for i in range(len(corpus.clips))]
  content = writers.mult_content(corpus, ids="bytes")
  dataset = readers.read(writers.dump(tmp_path / "x", content))
  assert dataset.columns["turn"].values.tolist()[:4] == [1, 0, 1, 0]


def test_ids_that_name_no_clip_make_no_dialogues(tmp_path):
  corpus = writers.invented()
  corpus.clips = [f"clip{i}" for i in range(len(corpus.clips))]
  dataset = readers.read(writers.dump(tmp_path / "x", writers.mmsa_content(corpus)))
  assert not dataset.columns
  with pytest.raises(UserError, match="has no 'dialogue_id'"):
    Units.of(dataset, "dialogue")


def test_segments_are_turns_of_their_video(tmp_path):
  csd_files(tmp_path / "c")
  dataset = readers.read(tmp_path / "c")
  assert dataset.columns["video_id"].values.tolist() == ["vid", "vid"]
  np.testing.assert_array_equal(Units.of(dataset, "dialogue").members, [[0, 1]])
  assert dataset.columns["turn"].values.tolist() == [0, 1]


def test_names_of_meld_say_dialogue_and_turn(tmp_path):
  corpus = talks(7)
  names = [f"train_dia{i // 2}_utt{5 - i % 2}" for i in range(48)]
  folder = writers.merbench(
    tmp_path / "d",
    corpus,
    features={"text": "bert"},
    labels=[{"emo": int(x)} for x in corpus.labels],
    names=names,
  )
  dataset = readers.read(folder)
  assert Units.of(dataset, "dialogue").members[:2].tolist() == [[1, 0], [3, 2]]
