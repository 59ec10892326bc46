"""Trees of arrays as named leaves, which is what a checkpoint holds, and back."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mcr_jax import files
from mcr_jax.errors import UserError


def flatten(tree: Any) -> dict[str, np.ndarray]:
  """The leaves of a tree as NumPy arrays by path, `params/head/kernel`."""
  paths, _ = jax.tree_util.tree_flatten_with_path(tree)
  return {_path(path): _host(leaf) for path, leaf in paths}


def nest(leaves: dict[str, Any]) -> dict:
  """Nested dicts of leaves by path, the inverse of `flatten` for trees of dicts."""
  tree = {}
  for path, leaf in leaves.items():
    *parents, name = path.split("/")
    group = tree
    for parent in parents:
      group = group.setdefault(parent, {})
    group[name] = leaf
  return tree


def digest_of(leaves: dict[str, np.ndarray]) -> str:
  """SHA-256 over the path, dtype, shape and bytes of every leaf."""
  return files.digest(_bytes(leaves))


def into(template: Any, leaves: dict[str, np.ndarray], folder: Path) -> Any:
  """The leaves in the containers, and on the devices, of a template.

  Raises:
    UserError: `folder`, where they come from, does not hold what the template has.
  """
  paths, treedef = jax.tree_util.tree_flatten_with_path(template)
  wanted = {_path(path): leaf for path, leaf in paths}
  shown = {path: _spec(leaf) for path, leaf in wanted.items()}
  saved = {path: _spec(leaf) for path, leaf in leaves.items()}
  differing = [p for p in sorted({*shown, *saved}) if shown.get(p) != saved.get(p)]
  if differing:
    lines = [
      f"{path}: {saved.get(path, 'absent')} saved, {shown.get(path, 'absent')} here"
      for path in differing[:3]
    ]
    more = f"; and {len(differing) - 3} more" if len(differing) > 3 else ""
    raise UserError(
      f"{folder} is a checkpoint of another model: {'; '.join(lines)}{more}."
    )
  return jax.tree_util.tree_unflatten(
    treedef, [_place(leaves[path], leaf) for path, leaf in wanted.items()]
  )


def _bytes(leaves: dict[str, np.ndarray]) -> Iterator[bytes | memoryview]:
  for path in sorted(leaves):
    leaf = leaves[path]
    yield f"{path}\0{leaf.dtype.name}\0{leaf.shape}\0".encode()
    yield np.ascontiguousarray(leaf).reshape(-1).view(np.uint8).data


def _path(path: tuple) -> str:
  names = [
    str(getattr(k, "key", getattr(k, "idx", getattr(k, "name", k)))) for k in path
  ]
  return "/".join(names)


def _host(leaf: Any) -> np.ndarray:
  if isinstance(leaf, jax.Array):
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
      leaf = jax.random.key_data(leaf)
    if not leaf.is_fully_addressable and not leaf.is_fully_replicated:
      from jax.experimental import multihost_utils

      leaf = multihost_utils.process_allgather(leaf, tiled=True)
  return np.asarray(leaf)


def _spec(leaf: Any) -> str:
  if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
    leaf = jax.eval_shape(jax.random.key_data, leaf)
  return f"{np.dtype(leaf.dtype).name}{list(leaf.shape)}"


def _place(array: np.ndarray, like: Any) -> Any:
  sharding = getattr(like, "sharding", None)
  if jax.dtypes.issubdtype(like.dtype, jax.dtypes.prng_key):
    impl = []  # an abstract key tells its own only while it is traced
    jax.eval_shape(lambda key: impl.append(jax.random.key_impl(key)), like)
    keys = jax.random.wrap_key_data(array, impl=impl[0])
    return keys if sharding is None else jax.device_put(keys, sharding)
  if sharding is None:
    return array
  return jax.make_array_from_callback(array.shape, sharding, lambda i: array[i])
