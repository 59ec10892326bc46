"""The devices of a run as a (seed, data) mesh, and arrays placed on it."""

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from mcr_jax.errors import UserError


def make(seed: int = 1, data: int = -1) -> Mesh:
  """A mesh of the given sizes; -1 takes the devices that the other axis leaves."""
  devices = jax.device_count()
  sizes = {"seed": seed, "data": data}
  free = [name for name, size in sizes.items() if size == -1]
  if len(free) == 2:
    raise UserError("mesh.seed and mesh.data are both -1; only one can take the rest.")
  if any(size < 1 and size != -1 for size in sizes.values()):
    raise UserError(f"mesh={sizes}: sizes are at least 1, or -1 for all devices.")
  if free:
    other = seed if free == ["data"] else data
    sizes[free[0]] = max(devices // other, 1)
  needed = sizes["seed"] * sizes["data"]
  # A process without a device in the mesh would have nothing to compute with.
  whole = free or jax.process_count() > 1
  if needed > devices or (whole and needed != devices):
    raise UserError(
      f"mesh.seed={seed}, mesh.data={data} does not fit {devices} device(s): "
      f"{sizes['seed']} x {sizes['data']} = {needed}."
    )
  grid = np.array(jax.devices()[:needed]).reshape(sizes["seed"], sizes["data"])
  return Mesh(grid, ("seed", "data"), axis_types=(AxisType.Auto, AxisType.Auto))


def place(mesh: Mesh, tree, spec: P | None = None):
  """Host arrays as global arrays, whole everywhere unless `spec` divides them.

  Every process passes the same values.
  """
  sharding = NamedSharding(mesh, P() if spec is None else spec)

  def put(array):
    array = np.asarray(array)
    if jax.process_count() == 1:
      return jax.device_put(array, sharding)
    return jax.make_array_from_callback(array.shape, sharding, lambda i: array[i])

  return jax.tree.map(put, tree)


def fetch(array: jax.Array) -> np.ndarray:
  """A global array on the host, whole in every process."""
  if array.is_fully_addressable or array.is_fully_replicated:
    return np.asarray(array)
  from jax.experimental import multihost_utils

  return np.asarray(multihost_utils.process_allgather(array, tiled=True))


def shard(mesh: Mesh, *axes) -> NamedSharding:
  """The sharding of an array whose leading axes lie along mesh axes."""
  return NamedSharding(mesh, P(*axes))
