"""The batches of `stream` by tf.data: what the trainer takes where it is installed.

The steps of a schedule flow through tf.data, whose threads gather the samples of the
next steps, and which other transformations may follow. `data.pipeline=threads` makes
the same batches without TensorFlow, in less memory.
"""

import contextlib
import os
import sys
import weakref
from collections.abc import Iterator, Sequence

import numpy as np

from mcr_jax.data.normalize import Normalizer
from mcr_jax.data.schedule import Bounds, Schedule
from mcr_jax.data.schema import Dataset
from mcr_jax.data.stream import WAITING, WORKERS, Gather, lower_priority
from mcr_jax.errors import UserError


def batches(
  dataset: Dataset,
  schedule: Schedule,
  buckets: Sequence[Bounds],
  normalizer: Normalizer | None,
  *,
  start: int = 0,
  share: slice = slice(None),
) -> Iterator[dict[str, np.ndarray]]:
  """As `stream.batches`.

  Raises:
    UserError: TensorFlow is not installed.
  """
  tf = _tensorflow()
  gather = Gather(dataset, buckets, normalizer)
  steps = schedule.bucket[start:], schedule.rows[:, start:, share].swapaxes(0, 1)
  # TensorFlow keeps a function for as long as the process lives; the data set must
  # not stay with it.
  reference = weakref.ref(gather)

  failures = []

  def load(bucket, rows):
    lower_priority()
    try:
      return reference()(bucket, rows)
    except Exception as error:
      failures.append(error)
      raise

  types = [tf.as_dtype(kind) for kind in gather.types.values()]
  pipeline = (
    tf.data.Dataset.from_tensor_slices(steps)
    .map(
      lambda bucket, rows: tuple(tf.numpy_function(load, [bucket, rows], types)),
      num_parallel_calls=WORKERS,
      deterministic=True,
    )
    .prefetch(WAITING)
  )
  return _named(gather, pipeline.as_numpy_iterator(), failures)


def _named(gather: Gather, arrays, failures: list[Exception]):
  """The batches by name; what broke one as it was, not as TensorFlow's."""
  try:
    yield from map(gather.named, arrays)
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
