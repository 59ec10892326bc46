"""Whole runs by the native kernels: scores, devices, what run.json says, resuming."""

import json

import numpy as np
import pytest

from mcr_jax import native
from mcr_jax.errors import UserError
from mcr_jax.runs.fit import fit
from mcr_jax.runs.writer import Writer
from tests.training import tiny

pytestmark = [
  pytest.mark.skipif(
    not native.status().available, reason=f"native: {native.status()}"
  ),
  pytest.mark.slow,
]

MULT = {
  "name": "mult",
  "width": 8,
  "heads": 2,
  "layers": 1,
  "self_layers": 1,
  "scan_layers": True,
  "attention_dropout": 0.2,
}


def run(file, workdir, attention, seed=1, data=1):
  """One epoch by squares, as `tests/hosts/mesh_test.py` has it and says why."""
  config = tiny.config(
    file,
    MULT | {"attention": attention},
    mesh={"seed": seed, "data": data},
    data={"buckets": 1, "modalities": ("text", "audio")},
    loss={"name": "l2"},
    optim={"eps": 1e-4},
    train={"epochs": 1, "batch_size": 12, "steps_per_call": 0},
  )
  fit(config, workdir, verbose=False)
  return config


def test_a_run_scores_the_same_on_four_devices_and_goes_on_with_its_kernels(tmp_path):
  file = tiny.write(tmp_path)
  workdir = tmp_path / "native"
  config = run(file, workdir, "native")
  devices = tmp_path / "devices"
  run(file, devices, "native", seed=2, data=2)
  tiny.assert_close(tiny.epochs(devices), tiny.epochs(workdir))
  np.testing.assert_allclose(
    tiny.predictions(devices), tiny.predictions(workdir), rtol=1e-4, atol=1e-5
  )
  facts = json.loads((workdir / "run.json").read_text())
  assert facts["native"] == native.instructions()[0]
  assert facts["native_fallbacks"] == {}

  # As a run that another processor left.
  Writer(workdir).write_facts(facts | {"finished": False, "native": "sse9"})
  with pytest.raises(UserError, match="'sse9'"):
    fit(config, workdir, resume=True, verbose=False)
