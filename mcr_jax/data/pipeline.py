"""The batches of `stream` by tf.data, for `data.pipeline=tf.data`.

The steps of a schedule flow through tf.data, whose threads gather the samples of the
next steps, and which other transformations may follow. The default makes the same
batches without TensorFlow, faster and in less memory.
"""

import contextlib
import os
import sys
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from mcr_jax.data.batches import Source, assemble
from mcr_jax.data.schedule import Bounds, Schedule
from mcr_jax.data.stream import WAITING, WORKERS, lower_priority
from mcr_jax.errors import UserError


def batches(
  source: Source, schedule: Schedule, buckets: Sequence[Bounds], *, start: int = 0
) -> Iterator[dict[str, Any]]:
  """As `stream.batches`.

  Raises:
    UserError: TensorFlow is not installed.
  """
  tf = _tensorflow()
  # An empty batch has the names and types of all others.
  names, arrays = _flat(assemble(source, schedule.rows[:, 0, :0], buckets[0]))
  types = [tf.as_dtype(array.dtype) for array in arrays]
  steps = schedule.bucket[start:], schedule.rows[:, start:].swapaxes(0, 1)
  # TensorFlow keeps a function for as long as the process lives; the data set must
  # not stay with it.
  reference = weakref.ref(source)
  failures = []

  def load(bucket, rows):
    lower_priority()
    try:
      return _flat(assemble(reference(), rows, buckets[bucket]))[1]
    except Exception as error:
      failures.append(error)
      raise

  pipeline = (
    tf.data.Dataset.from_tensor_slices(steps)
    .map(
      lambda bucket, rows: tuple(tf.numpy_function(load, [bucket, rows], types)),
      num_parallel_calls=WORKERS,
      deterministic=True,
    )
    .prefetch(WAITING)
  )
  return _named(source, names, pipeline.as_numpy_iterator(), failures)


def _flat(batch: dict[str, Any]) -> tuple[list[tuple[str, str]], list[np.ndarray]]:
  """(group, name) of every array of a batch, and the arrays."""
  flat = {}
  for group, value in batch.items():
    parts = value if isinstance(value, dict) else {"": value}
    flat |= {(group, name): part for name, part in parts.items() if part is not None}
  return list(flat), list(flat.values())


def _named(source, names, batches, failures: list[Exception]):
  """The batches by name; what broke one as it was, not as TensorFlow's.

  Holding `source` keeps it alive for as long as somebody iterates.
  """
  try:
    for arrays in batches:
      batch = {"x": {}, "mask": {}, "label": None, "more": {}}
      for (group, name), array in zip(names, arrays, strict=True):
        if name:
          batch[group][name] = array
        else:
          batch[group] = array
      yield batch
  except Exception as error:
    raise (failures[0] if failures else error) from None


def _tensorflow():
  """TensorFlow, without its greetings and without the accelerators."""
  if "tensorflow" in sys.modules:
    return sys.modules["tensorflow"]
  quiet = {"TF_CPP_MIN_LOG_LEVEL": "2", "TF_ENABLE_ONEDNN_OPTS": "0"}
  given = {name: os.environ.get(name) for name in quiet}
  os.environ.update({k: v for k, v in quiet.items() if given[k] is None})
  try:
    import tensorflow as tf
  except ImportError as error:
    raise UserError(
      "TensorFlow's tf.data is not installed: pip install "
      f'"mcr_jax[data]", or take mcr_jax.data.stream, which needs none. ({error})'
    ) from error
  finally:
    for name in (k for k, v in given.items() if v is None):
      os.environ.pop(name, None)
  # It would take the memory that JAX's arrays need.
  with contextlib.suppress(RuntimeError):
    tf.config.set_visible_devices([], "GPU")
  return tf
