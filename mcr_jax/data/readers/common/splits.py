"""What the files that are a dict of splits have in common: MMSA's and MulT's."""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from mcr_jax.data import parts as part_names
from mcr_jax.data.ledger import Ledger
from mcr_jax.data.readers.common import sequences, values
from mcr_jax.data.schema import SPLITS, Modality
from mcr_jax.errors import UserError


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
  """One split of a file.

  Attributes:
    split: `train`, `valid`, `test`; in a file that has none of these its own name;
      None of a file without splits.
    place: what the file calls it, "" of a file without splits.
    entries: all that it holds.
    arrays: modality -> (N, T, D), (N, D), or N arrays (T_i, D).
    count: N.
  """

  split: str | None
  place: str
  entries: dict
  arrays: Mapping[str, sequences.Block]
  count: int

  def __bool__(self) -> bool:
    return self.count > 0


def parts(
  content: object,
  source: str,
  ledger: Ledger,
  chosen: Mapping[str, str] | None = None,
) -> list[Part]:
  """Every split in a file, in the order train, valid, test.

  A dict of modalities without splits is one part, whose split is None; two dimensions
  (T, D) in all of its modalities are then one clip.

  Args:
    content: of the file.
    source: for messages.
    ledger: is told all that the file holds, and which splits are not read.
    chosen: split -> name in the file of what to take for it, as `data.parts` says.
  """
  if not isinstance(content, dict):
    return []
  named = {k: x for k, x in content.items() if isinstance(x, dict) and _holds(x)}
  roles = part_names.roles(named, source, chosen or {})
  _refuse_other_orders(content, named, roles, source)
  if not named:
    if not _holds(content):
      return []
    ledger.hold_all(content)
    return [_part(None, "", content, source)]
  ledger.hold_all({k: x for k, x in content.items() if k not in named})
  found = []
  for key, entry in named.items():
    if key in roles:
      found.append(_part(roles[key], str(key), entry, source))
      ledger.hold_all(entry, place=str(key))
    else:
      ledger.hold(str(key), _rough_count(entry), "samples")
      ledger.leave(str(key), part_names.further(str(key)))
  order = lambda part: (*SPLITS, part.split).index(part.split)
  return sorted(found, key=order)


def _refuse_other_orders(content, named, roles, source) -> None:
  """Says of a dict by sample or by modality first that it is one by split."""
  right = "right is a dict of splits, each with arrays over its samples"
  own = [key for key in roles if roles[key] in SPLITS]
  if len(named) > len(SPLITS) and not own:
    raise UserError(
      f"{source}: {len(named):,} entries of it are dicts of features, such as "
      f"{str(next(iter(named)))[:60]!r}, and none is a split by name. By sample it is "
      f"not read: {right}."
    )
  turned = [
    key
    for key, name in ((x, values.keys_by_name({x: [y]})) for x, y in content.items())
    if name and isinstance(content[key], dict)
  ]
  if turned and not named:
    raise UserError(
      f"{source}: {turned[0]!r} is {values.describe(content[turned[0]])}; {right}."
    )


def _holds(entry) -> bool:
  return bool(values.keys_by_name(entry))


def _rough_count(entry) -> int:
  """Samples of a split that is not read."""
  sizes = [len(x) for x in values.by_name(entry).values() if hasattr(x, "__len__")]
  return max(sizes, default=0)


def _part(split, place, entry, source) -> Part:
  where = f"{source}: {place + '/' if place else ''}"
  arrays = {
    name: sequences.block(value, where + name)
    for name, value in values.by_name(entry).items()
  }
  if split is None and _is_clip(entry, arrays):
    arrays = {name: x[None] for name, x in arrays.items()}
  counts = {name: len(x) for name, x in arrays.items()}
  if len(set(counts.values())) > 1:
    raise UserError(
      f"{where}the modalities have different numbers of samples: "
      f"{', '.join(f'{name} {count}' for name, count in counts.items())}."
    )
  return Part(split, place, entry, arrays, next(iter(counts.values()), 0))


def _is_clip(entry, arrays) -> bool:
  """Whether the modalities (T, D) are those of one clip, which may have an id."""
  flat = all(isinstance(x, np.ndarray) and x.ndim == 2 for x in arrays.values())
  one = isinstance(entry.get("id", ""), str)
  return flat and one and "labels" not in entry


def modalities(
  found: list[Part],
  source: str,
  ledger: Ledger,
  stated: Callable[[dict, str, sequences.Block], tuple] = lambda *_: (None, None),
) -> tuple[dict[str, Modality], list[str]]:
  """The modalities of all parts together, and what was found out about them.

  Args:
    found: the parts.
    source: for messages.
    ledger: is told what became a modality, and what of it did not.
    stated: (entries, name, array) -> lengths and mask that the file states, or None.
  """
  arrays = [x for part in found for x in part.arrays.values()]
  values.refuse_repeats((x for x in arrays if isinstance(x, np.ndarray)), source)
  order = [n for n in values.MODALITIES if any(n in part.arrays for part in found)]
  result, notes = {}, []
  for name in order:
    blocks = [part.arrays.get(name, part.count) for part in found]
    lengths, masks = zip(
      *(
        stated(part.entries, name, part.arrays[name])
        if name in part.arrays
        else (None, None)
        for part in found
      ),
      strict=True,
    )
    for part in found:
      if name in part.arrays:
        key = values.keys_by_name(part.entries)[name]
        ledger.use(key, f"the modality {name}", place=part.place)
    result[name], note = sequences.from_blocks(name, blocks, lengths, masks, ledger)
    notes.append(note)
    lacking = [part.place for part in found if name not in part.arrays and part]
    if lacking:
      notes.append(f"{name}: missing in {', '.join(map(str, lacking))}.")
  return result, notes


def split_names(found: list[Part]) -> np.ndarray | None:
  """The split of every sample, None where the file has no splits."""
  if found[0].split is None:
    return None
  return np.repeat([x.split for x in found], [x.count for x in found])


def ids(
  found: list[Part], source: str, ledger: Ledger, key: str = "id"
) -> tuple[np.ndarray, list]:
  """The id of every sample; made from split and position where there is none."""
  result, notes = [], []
  for part in found:
    if named := next((x for x in (key, f"{key}s") if x in part.entries), None):
      own = part.entries[named]
      own = [own] if isinstance(own, str) and part.count == 1 else own
      result += list(values.names(own, f"{source}: {key!r}", part.count))
      ledger.use(named, "ids", place=part.place)
    else:
      name = part.split or "clip"
      result += [f"{name}{index}" for index in range(part.count)]
      notes.append(f"{name}: the file has no ids; they are made from the position.")
  return values.strings(result, f"{source}: {key!r}"), notes


def column(
  found: list[Part], key: str, source: str, ledger: Ledger
) -> tuple[np.ndarray | None, np.ndarray]:
  """One kind of label over all parts, and which samples are in a part that has it.

  Returns:
    (N, ...), of no meaning in the parts that lack it, or None where all do; (N,) bool.
  """
  having = [part for part in found if part and key in part.entries]
  known = np.repeat([part in having for part in found], [x.count for x in found])
  if not having:
    return None, known
  result = {}
  for part in having:
    array = values.numbers(part.entries[key], f"{source}: {key!r}")
    if array.ndim == 0 and part.count == 1:
      array = array[None]
    if array.ndim == 0 or len(array) != part.count:
      raise UserError(
        f"{source}: {key!r} has shape {array.shape} for {part.count} samples."
      )
    result[part.place] = array
  if len({x.shape[1:] for x in result.values()}) != 1:
    shapes = ", ".join(f"{place} {x.shape}" for place, x in result.items())
    raise UserError(f"{source}: {key!r} has different shapes in the splits: {shapes}.")
  first = next(iter(result.values()))
  for part in found:
    if part and part not in having:
      result[part.place] = np.repeat(first[:1], part.count, axis=0)
      has = ", ".join(x.place for x in having)
      ledger.part(
        f"{part.place}/{key}",
        part.count,
        f"this split has none, though {has} has: its samples have no label",
        "samples",
      )
  return np.concatenate([result[x.place] for x in found if x]), known
