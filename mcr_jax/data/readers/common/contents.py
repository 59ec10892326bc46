"""What files of NumPy and PyTorch hold that is a dict of arrays, and no feature file.

That is: a dict which `numpy.save` wrote as an object, an .npz of splits or of arrays
under the names of the CMU-MultimodalSDK, and what `torch.save` wrote.
"""

import io
import pathlib
import zipfile

import numpy as np

from mcr_jax.data import archive, memory, parts
from mcr_jax.data.readers.common import npy, orders, rows, torch_file, values
from mcr_jax.data.schema import SPLITS
from mcr_jax.errors import UserError

NPY = b"\x93NUMPY"


def of_arrays(path: pathlib.Path, data: bytearray | None) -> object:
  """The dict, list or tuple in a zip or .npy file; None of a feature file.

  Args:
    path: of the file.
    data: its bytes where it came packed.
  """
  file = path if data is None else io.BytesIO(data)
  size = path.stat().st_size if data is None else len(data)
  with open(path, "rb") as opened:
    start = bytes(data[:8]) if data is not None else opened.read(8)
  if start.startswith(NPY):
    return _of_npy(path, data, size)
  try:
    with zipfile.ZipFile(file) as found:
      names = found.namelist()
      if torch_file.pickle_member(names):
        return torch_file.read(path, found, size)
  except UserError:
    raise
  except (OSError, ValueError, RuntimeError, zipfile.BadZipFile):
    return None  # whoever reads it as arrays says what is wrong
  keys = [x.removesuffix(".npy") for x in names if x.endswith(".npy")]
  if not (own := _is_dict(keys)) and not _may_be_columns(keys):
    return None
  arrays = archive.read(path, data=data, objects=npy.loaded)
  content = {key: plain(x) for key, x in arrays.items()}
  return content if own else orders.of(content)


def names(path: pathlib.Path, data: bytearray | None) -> list[str]:
  """The arrays in an .npz by name; of a damaged zip one "", which reading explains."""
  try:
    with zipfile.ZipFile(path if data is None else io.BytesIO(data)) as archive:
      found = archive.namelist()
      own = [x.removesuffix(".npy") for x in found if x.endswith(".npy")]
      # Arrays in folders are files of a data set that was packed whole.
      return [x for x in own if "/" not in x]
  except (OSError, ValueError, RuntimeError, zipfile.BadZipFile):
    return [""]


def plain(array: np.ndarray) -> object:
  """What an array of no dimensions holds, else the array."""
  return array.item() if isinstance(array, np.ndarray) and not array.ndim else array


def _of_npy(path, data, size):
  with open(path, "rb") if data is None else io.BytesIO(data) as file:
    _, _, dtype = npy.header(file, str(path))
    if dtype.kind != "O":
      return None
    memory.take(size, str(path))
    file.seek(0)
    return plain(npy.objects(file.read(), str(path)))


def _is_dict(keys) -> bool:
  """Whether the names of an .npz are those of splits, or the SDK's of features."""
  if sum(parts.name_of(key) in SPLITS for key in keys) >= 2:
    return True
  found = values.keys_by_name({key: [] for key in keys}).values()
  theirs = any(map(values.sdk_name, found))
  return theirs and not any(x.endswith(("_mask", "_offsets")) for x in keys)


def _may_be_columns(keys) -> bool:
  """Whether the names of an .npz without ids are columns with an entry a sample."""
  if {"id", "ids"} & set(keys) or any(x.endswith(("_mask", "_offsets")) for x in keys):
    return False
  labelled = any(rows.role(x) == "label" for x in keys)
  return labelled or bool(orders.by_split(dict.fromkeys(keys)))


def readable(content: object, depth: int = 2) -> object:
  """The same with keys that Python 2 wrote as bytes as text, some levels deep."""
  if not isinstance(content, dict) or not depth:
    return content
  text = lambda key: key.decode("utf-8", "replace") if isinstance(key, bytes) else key
  return {text(key): readable(value, depth - 1) for key, value in content.items()}
