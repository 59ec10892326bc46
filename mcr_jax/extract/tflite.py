"""Small networks in the .tflite format as JAX functions, for batches of any size.

The format is a FlatBuffer, which `Table` reads by its offsets, all of them checked; the
operations are those that networks of the face use. No TensorFlow and no LiteRT.
"""

import struct
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from mcr_jax.errors import UserError

# Of the schema: TensorType, BuiltinOperator, Padding and ActivationFunctionType.
TYPES = {0: np.float32, 1: np.float16, 2: np.int32, 3: np.uint8, 9: np.int8}
PADDINGS = ("SAME", "VALID")
ACTIVATIONS = {0: lambda y: y, 1: jax.nn.relu, 3: jax.nn.relu6}
SCHEMA = b"TFL3"


class Table:
  """A table of a FlatBuffer, whose fields have numbers."""

  def __init__(self, data: bytes, place: int):
    self.data, self.place = data, place
    self.vtable = place - self._unpack("<i", place)
    self.size = self._unpack("<H", self.vtable)

  def number(self, field: int, form: str = "<i", default: int = 0) -> int:
    """A number, or the default where the field is not there."""
    place = self._place(field)
    return default if place is None else self._unpack(form, place)

  def array(self, field: int, dtype) -> np.ndarray:
    """A vector of numbers, () where the field is not there."""
    count, place = self._vector(field)
    return (
      np.frombuffer(self.data, dtype, count, place) if count else np.zeros(0, dtype)
    )

  def tables(self, field: int) -> list["Table"]:
    """A vector of tables."""
    count, place = self._vector(field)
    return [Table(self.data, self._follow(place + 4 * i)) for i in range(count)]

  def table(self, field: int) -> "Table | None":
    """One table."""
    place = self._place(field)
    return None if place is None else Table(self.data, self._follow(place))

  def _place(self, field):
    slot = 4 + 2 * field
    offset = self._unpack("<H", self.vtable + slot) if slot < self.size else 0
    return self.place + offset if offset else None

  def _vector(self, field):
    place = self._place(field)
    if place is None:
      return 0, 0
    place = self._follow(place)
    count = self._unpack("<I", place)
    if count > len(self.data):
      raise ValueError(f"a vector of {count:,} items")
    return count, place + 4

  def _follow(self, place):
    return place + self._unpack("<I", place)

  def _unpack(self, form, place):
    if place < 0:
      raise ValueError("an offset before the file")
    return struct.unpack_from(form, self.data, place)[0]


class Network:
  """A network of one input.

  Attributes:
    shape: of the input, without the batch: (height, width, channels).
    outputs: names, in the order of what a call returns.
  """

  def __init__(self, path: str | Path):
    data = Path(path).read_bytes()
    try:
      if data[4:8] != SCHEMA:
        raise ValueError("it does not begin as one")
      self._read(data)
    except (struct.error, ValueError, IndexError, KeyError) as error:
      raise UserError(f"{path} is no .tflite network: {error}.") from None

  def _read(self, data):
    model = Table(data, struct.unpack_from("<I", data, 0)[0])
    codes = [max(x.number(0, "<b"), x.number(3)) for x in model.tables(1)]
    buffers, graph = model.tables(4), model.tables(2)[0]
    self._shapes, self._constants, names = [], {}, []
    for i, tensor in enumerate(graph.tables(0)):
      shape = tuple(map(int, tensor.array(0, np.int32)))
      self._shapes.append(shape)
      names.append(bytes(tensor.array(3, np.uint8)).decode())
      raw = buffers[tensor.number(2, "<I")].array(0, np.uint8)
      if raw.size:
        self._constants[i] = raw.view(TYPES[tensor.number(1, "<b")]).reshape(shape)
    (self._input,) = map(int, graph.array(1, np.int32))
    self._outputs = tuple(map(int, graph.array(2, np.int32)))
    self._steps = []
    for step in graph.tables(3):
      code = codes[step.number(0, "<I")]
      if code not in OPERATIONS:
        raise ValueError(f"operation {code} is not known here")
      ins, outs = (tuple(map(int, step.array(i, np.int32))) for i in (1, 2))
      self._steps.append((OPERATIONS[code], ins, outs[0], step.table(4)))
    self.shape = self._shapes[self._input][1:]
    self.outputs = tuple(names[i] for i in self._outputs)

  def __call__(self, x: jax.Array) -> list[jax.Array]:
    """The outputs for a batch (N, *shape)."""
    values = self._constants | {self._input: x}
    for operation, ins, out, options in self._steps:
      args = [values[i] if i >= 0 else None for i in ins]
      values[out] = operation(options, self._shapes[out], *args)
    return [values[i] for i in self._outputs]


def _add(options, shape, a, b):
  return ACTIVATIONS[options.number(0, "<b")](a + b)


def _concatenate(options, shape, *parts):
  return jnp.concatenate(parts, options.number(0))


def _convolve(options, shape, x, kernel, bias):
  strides = options.number(2, default=1), options.number(1, default=1)
  y = jax.lax.conv_general_dilated(
    x,
    jnp.asarray(kernel, jnp.float32),
    strides,
    PADDINGS[options.number(0, "<b")],
    dimension_numbers=("NHWC", "OHWI", "NHWC"),
  )
  return ACTIVATIONS[options.number(3, "<b")](y + _row(bias))


def _convolve_depthwise(options, shape, x, kernel, bias):
  """As a sum of shifted products: on CPUs several times as fast as XLA's groups.

  Besides, a jitted convolution in groups is wrong in jaxlib 0.10.2 on CPUs.
  """
  strides = options.number(2, default=1), options.number(1, default=1)
  kernel = jnp.asarray(kernel, jnp.float32)[0]
  size, pads = [], [(0, 0)]
  for axis, (stride, taps) in enumerate(zip(strides, kernel.shape[:2], strict=True)):
    length = x.shape[axis + 1]
    if PADDINGS[options.number(0, "<b")] == "SAME":
      count = -(-length // stride)
      missing = max((count - 1) * stride + taps - length, 0)
    else:
      count, missing = (length - taps) // stride + 1, 0
    size.append(count)
    pads.append((missing // 2, missing - missing // 2))
  x = jnp.pad(x, (*pads, (0, 0)))
  ends = [(count - 1) * stride + 1 for count, stride in zip(size, strides, strict=True)]
  y = _row(bias)
  for i in range(kernel.shape[0]):
    for j in range(kernel.shape[1]):
      part = x[:, i : i + ends[0] : strides[0], j : j + ends[1] : strides[1]]
      y = y + part * _row(kernel[i, j])
  return ACTIVATIONS[options.number(4, "<b")](y)


def _row(x):
  """(C,) beside (N, H, W, C)."""
  return jnp.asarray(x, jnp.float32)[None, None, None]


def _max_pool(options, shape, x):
  window = (1, options.number(4), options.number(3), 1)
  strides = (1, options.number(2), options.number(1), 1)
  padding = PADDINGS[options.number(0, "<b")]
  return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, strides, padding)


def _pad(options, shape, x, pads):
  return jnp.pad(x, [tuple(map(int, row)) for row in pads])


def _prelu(options, shape, x, slope):
  slope = jnp.asarray(slope, jnp.float32)
  slope = slope.reshape((1,) * (x.ndim - slope.ndim) + slope.shape)
  return jnp.where(x >= 0, x, x * slope)


OPERATIONS: dict[int, Callable] = {
  0: _add,
  2: _concatenate,
  3: _convolve,
  4: _convolve_depthwise,
  6: lambda options, shape, x: jnp.asarray(x, jnp.float32),  # DEQUANTIZE of halves
  17: _max_pool,
  19: lambda options, shape, x: jax.nn.relu(x),
  22: lambda options, shape, x, *_: x.reshape(len(x), *shape[1:]),
  34: _pad,
  54: _prelu,
}
