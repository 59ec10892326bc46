"""Programs for a GPU that is not there, compiled from its description.

XLA needs to know of a device what it can hold and how fast it is; with that in a file
it makes the machine code that it would make beside the device, but for what it would
have timed there (autotuning), which it leaves at its first guess.
"""

import contextlib
import os
import pathlib
from collections.abc import Iterator
from unittest import mock

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from benchmarks import steps
from mcr_jax.training.feed import OnDevice

# Of the training part of CMU-MOSI.
SAMPLES = 1284
H100 = pathlib.Path(__file__).parent / "h100_sxm.txtpb"


def mesh(description: pathlib.Path = H100) -> Mesh:
  """A mesh of the one device of a description."""
  from jax.experimental import topologies

  # Else the profiling library looks for the driver.
  os.environ["JAX_SKIP_CUDA_CONSTRAINTS_CHECK"] = "1"
  topology = topologies.get_topology_desc(
    platform="cuda",
    topology_name=description.stem,
    topology="1x1x1",
    target_config=description.read_text(),
  )
  grid = np.array(topology.devices).reshape(1, 1)
  return Mesh(grid, ("seed", "data"), axis_types=(AxisType.Auto, AxisType.Auto))


@contextlib.contextmanager
def instead_of_this(devices: Mesh) -> Iterator[None]:
  """What is traced inside asks for the devices, and finds those of the mesh."""
  with (
    mock.patch.object(jax, "default_backend", lambda: "gpu"),
    mock.patch.object(jax, "devices", lambda: list(devices.devices.flat)),
  ):
    yield


def lower(function, *arguments, **static) -> jax.stages.Lowered:
  """A jitted function of arrays that are only described, for a GPU."""
  traced = function.trace(*arguments, **static)
  return traced.lower(lowering_platforms=("cuda",))


def training(fields, longest, size: int, seeds: int, devices: Mesh):
  """The program that trains a model, see `benchmarks.steps.Step.of`, on resident data.

  A loop of steps: gather, forward, backward, update.
  """
  batch = steps.batch_of(longest, size)
  place = lambda *shape, dtype: array(shape, dtype, devices)
  whole = lambda x: place(SAMPLES, *x.shape[1:], dtype=x.dtype)
  of_data = jax.tree.map(whole, (batch.x, batch.mask, {"label": batch.label}))
  number = place(dtype=np.int32)
  with instead_of_this(devices):
    programs, state = steps.described(fields, batch, seeds=seeds, mesh=devices)
    rows = place(seeds, SAMPLES // size, size, dtype=np.int32)
    arguments = state, OnDevice(*of_data, None), rows, number, number, steps.CONSTANTS
    return lower(programs.run, *arguments, phase=0, bounds=tuple(longest.items()))


def array(shape: tuple[int, ...], dtype, devices: Mesh) -> jax.ShapeDtypeStruct:
  """An array on the devices of a mesh, as a shape."""
  return jax.ShapeDtypeStruct(shape, dtype, sharding=NamedSharding(devices, P()))
