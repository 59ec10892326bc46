"""What the files that are a dict of splits have in common: MMSA's and MulT's."""

from collections.abc import Callable

import numpy as np

from mcr_jax.data.readers.common import sequences, values
from mcr_jax.data.schema import SPLITS, Modality
from mcr_jax.errors import UserError

Part = tuple[str | None, dict, dict, int]


def parts(content: object, source: str) -> list[Part]:
  """(split, entries, modality arrays, number of samples) of every split in a file.

  A dict of modalities without splits is one part, whose split is None; two dimensions
  (T, D) in all of its modalities are then one clip.
  """
  if not isinstance(content, dict):
    return []
  named = [
    (values.SPLIT_NAMES.get(key, key), entry)
    for key, entry in content.items()
    if isinstance(key, str) and isinstance(entry, dict)
  ]
  found = [(split, entry) for split, entry in named if split in SPLITS]
  if not found:
    found = [(None, content)]
  if not any(values.by_name(entry) for _, entry in found):
    return []
  order = lambda item: SPLITS.index(item[0]) if item[0] else 0
  return [_part(split, entry, source) for split, entry in sorted(found, key=order)]


def _part(split, entry, source) -> Part:
  where = f"{source}: {split + '/' if split else ''}"
  arrays = {
    name: sequences.block(value, where + name)
    for name, value in values.by_name(entry).items()
  }
  if split is None and not any(key in entry for key in ("id", "labels")):
    if all(x.ndim == 2 for x in arrays.values()):
      arrays = {name: x[None] for name, x in arrays.items()}
  counts = {name: len(x) for name, x in arrays.items()}
  if len(set(counts.values())) > 1:
    raise UserError(
      f"{where}the modalities have different numbers of samples: "
      f"{', '.join(f'{name} {count}' for name, count in counts.items())}."
    )
  count = next(iter(counts.values()), 0)
  return split, entry, arrays, count


def modalities(
  found: list[Part],
  source: str,
  stated: Callable[[dict, str, np.ndarray], tuple] = lambda *_: (None, None),
) -> tuple[dict[str, Modality], list[str]]:
  """The modalities of all parts together, and what was found out about them.

  Args:
    found: the parts.
    source: for messages.
    stated: (entries, name, array) -> lengths and mask that the file states, or None.
  """
  values.refuse_repeats((x for part in found for x in part[2].values()), source)
  order = [n for n in values.MODALITIES if any(n in part[2] for part in found)]
  result, notes = {}, []
  for name in order:
    blocks = [arrays.get(name, count) for _, _, arrays, count in found]
    lengths, masks = zip(
      *(
        stated(entry, name, arrays[name]) if name in arrays else (None, None)
        for _, entry, arrays, _ in found
      ),
      strict=True,
    )
    result[name], note = sequences.from_blocks(name, blocks, lengths, masks)
    notes.append(note)
    lacking = [s for s, _, arrays, count in found if name not in arrays and count]
    if lacking:
      notes.append(f"{name}: missing in {', '.join(map(str, lacking))}.")
  return result, notes


def split_names(found: list[Part]) -> np.ndarray | None:
  """The split of every sample, None where the file has no splits."""
  if found[0][0] is None:
    return None
  return np.repeat([part[0] for part in found], [part[3] for part in found])


def ids(found: list[Part], source: str, key: str = "id") -> tuple[np.ndarray, list]:
  """The id of every sample; made from split and position where there is none."""
  result, notes = [], []
  for split, entry, _, count in found:
    if key in entry:
      result += list(values.names(entry[key], f"{source}: {key!r}", count))
    else:
      name = split or "clip"
      result += [f"{name}{index}" for index in range(count)]
      notes.append(f"{name}: the file has no ids; they are made from the position.")
  return values.strings(result, f"{source}: {key!r}"), notes


def column(found: list[Part], key: str, source: str) -> np.ndarray | None:
  """One kind of label over all parts, (N, ...); None unless every part has it."""
  filled = [part for part in found if part[3]]
  if not filled or not all(key in entry for _, entry, _, _ in filled):
    return None
  result = []
  for _, entry, _, count in filled:
    array = values.numbers(entry[key], f"{source}: {key!r}")
    if array.ndim == 0 or len(array) != count:
      raise UserError(f"{source}: {key!r} has shape {array.shape} for {count} samples.")
    result.append(array)
  if len({x.shape[1:] for x in result}) != 1:
    raise UserError(f"{source}: {key!r} has different shapes in the splits.")
  return np.concatenate(result)
