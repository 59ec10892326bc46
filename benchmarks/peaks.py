"""What this machine can do at most: the denominators of every floor.

  python benchmarks/peaks.py [--json FILE]

Measured: a square matrix product, an addition in place to an array far larger than the
caches, and exponentials of numbers that are in a register, each by XLA, the best of
many runs (a peak is what was once reached, so the best and not the median). Beside it,
what the maker's data sheet says of devices that were not at hand.
"""

import argparse
import json
import platform
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Peaks(NamedTuple):
  """Per second: operations of a matrix product, bytes of memory, exponentials."""

  flops: float
  bytes: float
  exponentials: float | None
  source: str


_GUIDE = (
  "https://docs.nvidia.com/cuda/cuda-c-programming-guide/#arithmetic-instructions"
)

# By a part of jax.Device.device_kind and dtype. Matrix units without sparsity, the SXM
# modules; float32 products are TF32 on a GPU unless a precision is asked for.
# Exponentials: 16 a clock and multiprocessor by the programming guide, at boost clock
# (H100, H200: 132 x 1.83 GHz; A100: 108 x 1.41 GHz). Google publishes none.
DATASHEET = {
  ("H100", "bfloat16"): Peaks(
    989.4e12,
    3.35e12,
    3.9e12,
    f"https://www.nvidia.com/en-us/data-center/h100/ {_GUIDE}",
  ),
  ("H100", "float32"): Peaks(
    494.7e12,
    3.35e12,
    3.9e12,
    f"https://www.nvidia.com/en-us/data-center/h100/ {_GUIDE}",
  ),
  ("H200", "bfloat16"): Peaks(
    989.4e12, 4.8e12, 3.9e12, f"https://www.nvidia.com/en-us/data-center/h200/ {_GUIDE}"
  ),
  ("H200", "float32"): Peaks(
    494.7e12, 4.8e12, 3.9e12, f"https://www.nvidia.com/en-us/data-center/h200/ {_GUIDE}"
  ),
  ("A100", "bfloat16"): Peaks(
    312e12, 2.04e12, 2.4e12, f"https://www.nvidia.com/en-us/data-center/a100/ {_GUIDE}"
  ),
  ("A100", "float32"): Peaks(
    156e12, 2.04e12, 2.4e12, f"https://www.nvidia.com/en-us/data-center/a100/ {_GUIDE}"
  ),
  ("TPU v5 lite", "bfloat16"): Peaks(
    197e12, 819e9, None, "https://cloud.google.com/tpu/docs/v5e"
  ),
}


def datasheet(kind: str, dtype: str = "float32") -> Peaks | None:
  """The data sheet's peaks of a device, or None where we know none."""
  found = (x for (name, of), x in DATASHEET.items() if name in kind and of == dtype)
  return next(found, None)


def measure(dtype: str = "float32", repeats: int = 15) -> Peaks:
  """The peaks of the default device, as XLA reaches them."""
  side = 2048 if jax.default_backend() == "cpu" else 8192
  x = jnp.full((side, side), 0.5, dtype)
  product = jax.jit(lambda x: x @ x)
  flops = 2 * side**3 / _best(product, x, repeats)

  # In place: fresh memory would cost page faults, which are no bandwidth.
  x = jnp.zeros(2**26, dtype)
  size = x.nbytes
  add = jax.jit(lambda x: x + 1, donate_argnums=0)
  moved = 2 * size / _best(add, x, repeats, feed_back=True)

  # Sixteen of every number, fused into one pass over an array that fits a cache.
  x = jnp.full(2**17 if jax.default_backend() == "cpu" else 2**26, -0.5, dtype)
  exponentials = jax.jit(lambda x: sum(jnp.exp(x * c) for c in range(1, 17)))
  rate = 16 * x.size / _best(exponentials, x, 10 * repeats)
  return Peaks(flops, moved, rate, "measured")


def high_water() -> int:
  """The most bytes that this process held; a child's `ru_maxrss` is its parent's."""
  with open("/proc/self/status") as file:
    line = next(x for x in file if x.startswith("VmHWM"))
  return int(line.split()[1]) << 10


def machine() -> str:
  """One line that says what a timing was taken on."""
  device = jax.devices()[0]
  name = device.device_kind if device.platform != "cpu" else _processor()
  return f"jax {jax.__version__}  {device.platform} x{jax.device_count()}  {name}"


def _processor():
  try:
    with open("/proc/cpuinfo") as file:
      lines = [x for x in file if x.startswith("model name")]
    return f"{lines[0].split(':')[1].strip()} x{len(lines)}"
  except (OSError, IndexError):
    return platform.processor() or platform.machine()


def _best(function, x, repeats, feed_back=False):
  y = jax.block_until_ready(function(x))
  times = []
  for _ in range(repeats):
    x = y if feed_back else x
    start = time.perf_counter()
    y = jax.block_until_ready(function(x))
    times.append(time.perf_counter() - start)
  return min(times)


def main():
  """Prints the table."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--json", help="also write the rows to this file")
  options = parser.parse_args()
  rows = {("here", dtype): measure(dtype) for dtype in ("float32", "bfloat16")}
  rows |= DATASHEET
  print(machine())
  print(f"{'device':<12} {'dtype':<9} {'GFLOP/s':>9} {'GB/s':>7} {'Gexp/s':>7}  source")
  for (name, dtype), (flops, moved, rate, source) in rows.items():
    shown = f"{rate / 1e9:7.1f}" if rate else "    n/a"
    numbers = f"{flops / 1e9:9.0f} {moved / 1e9:7.1f} {shown}"
    print(f"{name:<12} {dtype:<9} {numbers}  {source}")
  if options.json:
    found = [dict(device=n, dtype=d, **p._asdict()) for (n, d), p in rows.items()]
    with open(options.json, "w") as file:
      json.dump({"machine": machine(), "rows": found}, file, indent=1)


if __name__ == "__main__":
  main()
