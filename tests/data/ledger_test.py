"""What a file holds is used or named: the ledger itself."""

import numpy as np

from mcr_jax.data import ledger
from mcr_jax.data.ledger import Entry, Ledger


def test_what_nobody_speaks_of_is_not_used_all_the_same():
  book = Ledger()
  book.hold_all({"text": np.zeros((3, 2)), "mood": [1, 2], "note": "x"})
  book.use("text", "the modality text")
  assert book.entries() == (
    Entry("text", 3, use="the modality text"),
    Entry("mood", 2, why=ledger.UNKNOWN),
    Entry("note", 1, why=ledger.UNKNOWN),
  )


def test_one_name_in_several_places_is_one_entry_where_it_became_one_thing():
  book = Ledger()
  for place, count in (("train", 4), ("valid", 2), ("test", 3)):
    book.hold("labels", count, "samples", place=place)
    book.hold("id", count, "samples", place=place)
  book.use("id", "ids")
  book.leave("labels", "valid has none")
  book.use("labels", "labels", place="train")
  found = book.entries()
  assert Entry("id", 9, "samples", use="ids") in found
  assert Entry("train/labels", 4, "samples", use="labels") in found
  assert Entry("valid+test/labels", 5, "samples", why="valid has none") in found


def test_what_was_used_stays_used_and_a_part_may_be_left():
  book = Ledger()
  book.hold("audio", 40, "files")
  book.use("audio", "the modality audio")
  book.leave("audio", "something else")
  book.part("audio", 0, "is empty")
  book.part("audio", 7, "is empty", "files", (f"{i}.npy" for i in range(7)))
  used, part = book.entries()
  assert used == Entry("audio", 40, "files", use="the modality audio")
  assert part.count == 7 and part.items == tuple(f"{i}.npy" for i in range(5))
  assert ledger.unused(book.entries()) == [part]


def test_a_sentence_a_reason_names_every_entry_with_its_count():
  entries = [ledger.left(x, n, "why") for x, n in (("a", 1), ("b", 1200))]
  (note,) = ledger.notes([*entries, Entry("c", 5, use="ids")])
  assert "a: 1 entry" in note and "b: 1,200 entries" in note and "c" not in note
  lines = ledger.table([*entries, Entry("c", 5, use="ids")])
  assert len(lines) == 3 and lines[0].split() == ["c:", "5", "entries", "ids"]


def test_names_of_strangers_are_cut():
  book = Ledger()
  book.hold_all({"x" * 500: 1, ("a", 1): [2]})
  assert [len(x.name) for x in book.entries()] == [ledger.LONGEST, len("('a', 1)")]
