"""How a run is laid out does not change what it computes."""

import jax
import numpy as np
import pytest

from mcr_jax.data import npz, schedule
from mcr_jax.errors import UserError
from mcr_jax.hosts import mesh as meshes
from mcr_jax.runs.fit import fit
from tests.training import tiny

MIA = {"name": "mia_net", "dropout": 0.2}
# Joined keys in SCU, a source update between two layers, joined targets in the encoder.
MCR = tiny.MCR | {"targets": ("text", "audio")}
# The same blocks, in a program of half the size: devices share samples, not targets.
ONE_TARGET = tiny.MCR | {"targets": ("text",)}
# Above the grain of trimming, so that what stands before another in a joined sequence
# really is cut.
LONGEST = {"text": 19, "audio": 17, "vision": 11}


@pytest.fixture(scope="module")
def file(tmp_path_factory):
  return tiny.write(tmp_path_factory.mktemp("data"), longest=LONGEST)


def run(file, folder, model, seed=1, data=1, trim=True, buckets=2, **train_fields):
  """One epoch, shuffled, with dropout of both kinds and a short last batch."""
  config = tiny.config(
    file,
    model,
    mesh={"seed": seed, "data": data},
    data={"modality_dropout": 0.2, "trim": trim, "buckets": buckets},
    # Adam blows up slopes that are rounding noise: those of L1, which are +-1, cancel
    # to it, and a parameter of MCR that hardly matters has no others.
    loss={"name": "l2"},
    optim={"eps": 1e-4 if model["name"] == "mcr" else 1e-8},
    train={"epochs": 1, "batch_size": 12, "steps_per_call": 0, **train_fields},
  )
  folder = folder / f"run-{len(list(folder.iterdir()))}"
  return fit(config, folder, verbose=False)


def assert_same(found, expected):
  tiny.assert_close(tiny.epochs(found.workdir), tiny.epochs(expected.workdir))
  np.testing.assert_allclose(
    *(tiny.predictions(x.workdir) for x in (found, expected)), rtol=1e-4, atol=1e-5
  )


@pytest.mark.parametrize(
  ("model", "others"),
  [(tiny.CONCAT, [(1, 4), (2, 1), (2, 2)]), (MIA, [(1, 4)])],
  ids=["concat", "mia_net"],
)
def test_metrics_are_those_of_one_device(file, tmp_path, model, others):
  one = run(file, tmp_path, model)
  for seed, data in others:
    found = run(file, tmp_path, model, seed, data)
    assert_same(found, one)
  # What training returns predicts too, wherever it was trained.
  assert found.predict().shape == (2, 53, 1)


def test_mcr_on_four_devices_is_mcr_on_one(file, tmp_path):
  one, four = (
    run(file, tmp_path, ONE_TARGET, *sizes, buckets=1) for sizes in ((1, 1), (2, 2))
  )
  assert_same(four, one)


def test_trimming_batches_changes_no_metric(file, tmp_path):
  data = npz.read(file)
  lengths = {m: x.lengths for m, x in data.modalities.items()}
  bounds = dict(schedule.make_buckets(lengths, LONGEST, 2)[0])
  assert bounds["text"] < LONGEST["text"] and bounds["audio"] < LONGEST["audio"]
  assert_same(*(run(file, tmp_path, MCR, trim=trim) for trim in (False, True)))


def test_seeds_side_by_side_are_seeds_one_after_another(file, tmp_path):
  runs = [run(file, tmp_path, tiny.CONCAT, seeds_by=by) for by in ("map", "vmap")]
  assert_same(*runs)


def test_a_mesh_takes_the_devices_it_names():
  assert meshes.make(1, -1).shape == {"seed": 1, "data": 4}
  assert meshes.make(-1, 2).shape == {"seed": 2, "data": 2}
  assert meshes.make(1, 3).shape == {"seed": 1, "data": 3}


@pytest.mark.parametrize(
  ("sizes", "named"),
  [
    ((-1, -1), "both -1"),
    ((0, 1), "'seed': 0"),
    ((3, 2), "= 6"),
    ((3, -1), "4 device"),
  ],
)
def test_a_mesh_that_does_not_fit_is_refused(sizes, named):
  with pytest.raises(UserError, match=named):
    meshes.make(*sizes)


def test_seeds_that_a_mesh_cannot_share_are_refused(file, tmp_path):
  with pytest.raises(UserError, match="mesh.seed=4 .* 2 seeds"):
    run(file, tmp_path, tiny.CONCAT, seed=4)
  with pytest.raises(UserError, match="mesh.seed=2"):
    run(file, tmp_path, tiny.CONCAT, seed=2, seeds_by="map")
  assert not list(tmp_path.iterdir())


def test_placed_arrays_come_back_whole():
  mesh = meshes.make(2, 2)
  array = np.arange(24).reshape(2, 4, 3)
  for spec in (None, jax.P("seed"), jax.P("seed", "data"), jax.P(None, "data")):
    placed = meshes.place(mesh, array, spec)
    np.testing.assert_array_equal(meshes.fetch(placed), array)
