"""Versions, device, and what the device reaches."""

import importlib.metadata as metadata
import importlib.util

# Name to import -> what a package index calls it. Without these nothing here runs.
NEEDED = {
  "jax": "jax[cuda13]",
  "flax": "flax",
  "optax": "optax",
  "orbax": "orbax-checkpoint",
  "chex": "chex",
  "ml_collections": "ml-collections",
  "jaxtyping": "jaxtyping",
  "absl": "absl-py",
  "scipy": "scipy",
}
# What the tests and the readers use; everything here runs without.
OPTIONAL = {
  "beartype": "beartype",
  "tensorflow": "tensorflow-cpu",
  "tensorflow_datasets": "tensorflow-datasets",
  "tensorboardX": "tensorboardX",
  "tqdm": "tqdm",
  "h5py": "h5py",
}


def absent(names: dict[str, str]) -> list[str]:
  """The packages that are not installed."""
  return [named for name, named in names.items() if not importlib.util.find_spec(name)]


def advice(packages: list[str]) -> str:
  """How to bring them to a machine without a network."""
  names = " ".join(packages)
  return (
    f"bring {names}: `pip download --no-deps -d wheels {names}` where there is a "
    "network, then `bin/gpu_check --wheels wheels` here"
  )


def run(ledger):
  """One row for the versions, one for the peaks of each dtype."""
  import jax

  from benchmarks import peaks

  def versions():
    found = {}
    for named in (*NEEDED.values(), *OPTIONAL.values()):
      package = named.partition("[")[0]
      try:
        found[package] = metadata.version(package)
      except metadata.PackageNotFoundError:
        found[package] = None
    device = jax.devices()[0]
    memory = (device.memory_stats() or {}).get("bytes_limit")
    return {"line": peaks.machine(), "versions": found, "memory_limit": memory}

  def peak(dtype):
    most = peaks.measure(dtype, repeats=2 if ledger.quick else 15)
    sheet = peaks.datasheet(jax.devices()[0].device_kind, dtype)
    rate = lambda p: (
      f"{p.flops / 1e12:.1f} TFLOP/s, {p.bytes / 1e12:.2f} TB/s, "
      f"{(p.exponentials or 0) / 1e12:.2f} T exp/s"
    )
    line = rate(most) + (f"  (data sheet: {rate(sheet)})" if sheet else "")
    return {"line": line, **most._asdict()}

  ledger.measure("versions", versions)
  for dtype in ("float32",) if ledger.quick else ("float32", "bfloat16"):
    ledger.measure(f"peaks {dtype}", lambda dtype=dtype: peak(dtype))
