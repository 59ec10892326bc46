"""Other forms in which people write an .npz file, as those of a feature file.

- `ids`, `splits` and `labels` for `id`, `split` and `label`;
- arrays of objects: text and numbers with None where there is none, and sequences
  (T_i, D) or (T_i,), an array a sample;
- one clip, whose `id` is one text, or not there, and whose modalities are (T, D).
"""

from collections.abc import Mapping

import numpy as np

from mcr_jax.data import memory
from mcr_jax.data.schema import ALIASES, canonical
from mcr_jax.errors import UserError

PLURALS = {"ids": "id", "splits": "split", "labels": "label"}
SHARED_BYTES, MAX_EXPANSION = 64 << 20, 100


def settled(
  arrays: Mapping[str, np.ndarray], source: str
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
  """The arrays of a feature file, and what was changed for it.

  Args:
    arrays: of the file by name.
    source: for messages.
  """
  found, notes = {}, []
  for key, array in arrays.items():
    name = PLURALS.get(key, key)
    if name != key and name not in arrays:
      notes.append(f"{key!r} is read as {name!r}.")
    else:
      name = key
    if array.dtype.kind == "O":
      found |= _plain(name, array, f"{source}: {key!r}")
      form = " as text" if found[name].dtype.kind == "U" else ""
      notes.append(f"{key!r} is an array of objects, read{form} without running any.")
    else:
      found[name] = array
  return _of_clip(found, notes), tuple(notes)


def _plain(name, array, what) -> dict[str, np.ndarray]:
  items = array.tolist() if array.ndim else [array.item()]
  if array.ndim != 1 and array.ndim:
    items = None
  said = [x for x in items or () if x is not None]
  if said and all(isinstance(x, str | bytes) for x in said):
    # What is not there is an empty text, which of labels says that there is none.
    items = ["" if x is None else x for x in items]
    text = [x.decode("utf-8", "replace") if isinstance(x, bytes) else x for x in items]
    _check_text(text, what)
    return {name: np.array(text, dtype=str) if array.ndim else np.array(text[0])}
  if items and all(isinstance(x, int | float | np.number) for x in items):
    return {name: np.array(items)}
  numeric = int | float | np.number | None
  if items and all(isinstance(x, numeric) for x in items):
    return {name: np.array([np.nan if x is None else x for x in items], np.float64)}
  if items and all(isinstance(x, np.ndarray | list | tuple) for x in items):
    return _sequences(name, items, what)
  kinds = sorted({type(x).__name__ for x in items or array.reshape(-1)[:100].tolist()})
  raise UserError(
    f"{what} is an array of objects of shape {array.shape}, of {', '.join(kinds[:5])}; "
    "right are texts, numbers, or an array (T, D) of every sample."
  )


def _check_text(text, what) -> None:
  """Texts take the room of the longest, and one may be there many times."""
  size = 4 * len(text) * max(map(len, text))
  own = sum(map(len, {id(x): x for x in text}.values()))
  if size > SHARED_BYTES and size > MAX_EXPANSION * own:
    raise UserError(
      f"{what}: refused: {own:,} characters would become {size >> 20:,} MiB."
    )
  memory.take(size, what)


def _sequences(name, items, what) -> dict[str, np.ndarray]:
  """Sequences one after another, and where each begins; vectors as (N, D)."""
  arrays, distinct = [], {}
  for x in items:
    if id(x) not in distinct:
      distinct[id(x)] = _numbers(x, what)
    arrays.append(distinct[id(x)])
  total = sum(x.nbytes for x in arrays)
  if total > SHARED_BYTES and total > 2 * sum(x.nbytes for x in distinct.values()):
    raise UserError(f"{what}: refused: its arrays repeat one another.")
  memory.take(2 * total, what)
  masks = name.endswith("_mask") or name.endswith("_words")
  sizes = {x.ndim for x in arrays if x.size}
  if not masks and sizes == {1} and len({len(x) for x in arrays}) == 1:
    return {name: np.stack(arrays)}
  shapes = {x.shape[1:] for x in arrays if x.size}
  if len(shapes) != 1 or sizes != ({1} if masks else {2}):
    found = ", ".join(str(x.shape) for x in arrays[:4])
    raise UserError(
      f"{what} holds arrays of shapes {found}; right are (T, D) of every sample, with "
      "one D."
    )
  (side,) = shapes
  empty = np.zeros((0, *side), next(x.dtype for x in arrays if x.size))
  joined = np.concatenate([x if x.size else empty for x in arrays])
  if masks:
    return {name: joined}
  lengths = [len(x) if x.size else 0 for x in arrays]
  return {name: joined, f"{name}_offsets": np.cumsum([0, *lengths])}


def _numbers(value, what) -> np.ndarray:
  try:
    array = np.asarray(value)
  except ValueError:
    raise UserError(f"{what} holds a ragged list; right is an array (T, D).") from None
  if array.dtype.kind not in "biuf" or array.ndim not in (1, 2):
    raise UserError(
      f"{what} holds an array of {array.dtype} of shape {array.shape}; right are "
      "numbers (T, D)."
    )
  return array


def _of_clip(arrays, notes) -> dict[str, np.ndarray]:
  """One clip, whose id is one text, as a data set of one sample."""
  if "id" not in arrays and _are_steps(arrays):
    arrays = {"id": np.array("clip0"), **arrays}
    notes.append("The file has no id; its clip is named clip0.")
  if arrays.get("id", np.zeros(1)).ndim or arrays["id"].dtype.kind not in "US":
    return arrays
  found = {}
  for key, x in arrays.items():
    if x.ndim == 2 and x.dtype.kind in "biuf":
      found[key] = x
      if f"{key}_offsets" not in arrays:
        found[f"{key}_offsets"] = np.array([0, len(x)])
    else:
      found[key] = x[None] if not x.ndim else x
  notes.append("It is one clip: its modalities are (T, D).")
  return found


def _are_steps(arrays) -> bool:
  """Whether arrays without ids are (T, D) of one clip: they differ in length."""
  known = all(canonical(x) in ALIASES.values() for x in arrays)
  flat = all(x.ndim == 2 and x.dtype.kind in "biuf" for x in arrays.values())
  return known and flat and len({len(x) for x in arrays.values()}) > 1
