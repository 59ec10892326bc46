"""The oracles themselves: what must hold for them whatever the package does."""

import numpy as np
import pytest

from tests.reference import mcr, trees

LENGTHS = {"text": 3, "vision": 7, "audio": 5, "touch": 4}
FEATURES = {"text": 5, "vision": 3, "audio": 2, "touch": 1}
KERNELS = {"text": 3, "vision": 1, "audio": 2, "touch": 5}
NAMES = ("text", "vision", "audio", "touch")
TREE_FIELDS = (
  "modalities targets heads cmu_heads num_layers encoder_layers source_update "
  "scu_scoring cmu scu mutual_attention attention_layer lengths outputs"
).split()


def build_mcr(number=3, seed=0, **changes):
  settings = dict(modalities=NAMES[:number], lengths=LENGTHS, heads=2, cmu_heads=2)
  settings |= dict(num_layers=2, outputs=(2,)) | changes
  fields = {name: settings[name] for name in TREE_FIELDS if name in settings}
  shapes = trees.mcr(width=4, features=FEATURES, kernels=KERNELS, **fields)
  return trees.draw(shapes, np.random.default_rng(seed)), settings


def build_sample(names=NAMES, lengths=LENGTHS, seed=1):
  rng = np.random.default_rng(seed)
  sample = {}
  for m in names:
    sample[m] = rng.normal(size=(lengths[m], FEATURES[m]))
    sample[m + "_mask"] = np.ones(lengths[m], bool)
  return sample


@pytest.mark.parametrize("number", [1, 2, 3, 4])
@pytest.mark.parametrize(
  "changes",
  [
    {},
    dict(structure="serial"),
    dict(source_update="sum_no_smm"),
    dict(source_update="ffl"),
    dict(source_update="low_level"),
    dict(cmu=False),
    dict(scu=False),
    dict(mutual_attention=False),
    dict(attention_layer=False),
    dict(pooling="last"),
    dict(pooling="max", encoder_layers=2),
    dict(scu_scoring="literal"),
    dict(num_layers=1),
    dict(targets=("text",)),
  ],
  ids=str,
)
def test_every_variant_of_mcr_is_finite_with_any_number_of_sources(number, changes):
  params, settings = build_mcr(number, **changes)
  sample = build_sample()
  prediction, _ = mcr.mcr(params, sample, **settings)
  assert prediction.shape == (2,)
  assert np.isfinite(prediction).all()


def test_every_mcr_variant_predicts_something_else():
  params, settings = build_mcr(scu_scoring="literal")
  folded, _ = build_mcr()
  for name in ("layers", "last"):
    for unit, there in params[name].items():
      there.update(folded[name][unit])
  sample = build_sample()
  predict = lambda **change: mcr.mcr(params, sample, **(settings | change))[0]
  found = [
    predict(),
    predict(structure="serial"),
    predict(source_update="sum_no_smm"),
    predict(source_update="ffl"),
    predict(source_update="low_level"),
    predict(cmu="off"),
    predict(scu="off"),
    predict(mutual_attention="off"),
    predict(attention_layer="off"),
    predict(scu_scoring="folded"),
    predict(pooling="last"),
    predict(pooling="max"),
  ]
  assert len({round(prediction[0], 9) for prediction in found}) == len(found)


def test_literal_scoring_is_folded_scoring_with_w_equal_to_w_transposed_u():
  literal, settings = build_mcr(scu_scoring="literal")
  folded, _ = build_mcr()
  folded |= {name: literal[name] for name in literal if name not in ("layers", "last")}
  for name in ("layers", "last"):
    for unit, there in literal[name].items():
      fold = folded[name][unit]
      fold.update({part: there[part] for part in fold if part in there})
      if unit.startswith("scu_"):
        for side in ("cross", "self"):
          w = np.einsum("...i,...ij->...j", there["U"], there["W_" + side])
          fold["score_" + side] = w.reshape(fold["score_" + side].shape)
        c = [(there["U"] * there["b_" + side]).sum(-1) for side in ("cross", "self")]
        fold["score_bias"] = np.stack(c, axis=-1)
  lengths = {"text": 2, "vision": 6, "audio": 5}
  for sample in (build_sample(), build_sample(lengths, lengths)):
    expected, _ = mcr.mcr(literal, sample, **settings)
    found, _ = mcr.mcr(folded, sample, **(settings | dict(scu_scoring="folded")))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("scu_scoring", ["folded", "literal"])
def test_padding_and_holes_of_mcr_hold_nothing_that_is_read(scu_scoring):
  params, settings = build_mcr(scu_scoring=scu_scoring)
  sample = build_sample()
  sample["vision_mask"][[1, 5, 6]] = False
  sample["audio_mask"][3:] = False
  expected, _ = mcr.mcr(params, sample, **settings)
  for junk in (1e6, np.nan):
    dirty = dict(sample)
    for m in settings["modalities"]:
      dirty[m] = np.where(sample[m + "_mask"][:, None], sample[m], junk)
    np.testing.assert_array_equal(mcr.mcr(params, dirty, **settings)[0], expected)
  short = dict(sample, vision=sample["vision"][:5], audio=sample["audio"][:3])
  short |= {name + "_mask": sample[name + "_mask"][:n] for name, n in [("vision", 5)]}
  short["audio_mask"] = sample["audio_mask"][:3]
  np.testing.assert_array_equal(mcr.mcr(params, short, **settings)[0], expected)


def test_a_hole_of_mcr_is_not_a_step_left_out():
  params, settings = build_mcr()
  sample = build_sample()
  sample["vision_mask"][1] = False
  closed = dict(sample)
  for name in ("vision", "vision_mask"):
    closed[name] = np.delete(sample[name], 1, axis=0)
  holed, _ = mcr.mcr(params, sample, **settings)
  assert abs(holed - mcr.mcr(params, closed, **settings)[0]).max() > 1e-6


def test_missing_modalities_of_mcr_read_zeros():
  params, settings = build_mcr()
  names = settings["modalities"]
  for missing in (names[:1], names[1:2], names[1:], names):
    sample = build_sample()
    for m in missing:
      sample[m + "_mask"][:] = False
    prediction, out = mcr.mcr(params, sample, **settings)
    assert np.isfinite(prediction).all()
    for t in names:
      assert out["pooled"][(t,)].any() == (t not in missing)
      total = sum(out["alpha"][(0, t, s)].sum() for s in names if s != t)
      left = [s for s in names if s != t and s not in missing]
      np.testing.assert_allclose(total, 1.0 if left else 0.0)
    for (_, t, s), maps in out["cmu_attention"].items():
      assert maps.any() == (t not in missing and s not in missing)


def test_a_missing_source_of_mcr_is_a_model_without_exchange():
  params, settings = build_mcr(targets=("text",))
  sample = build_sample()
  sample["vision_mask"][:] = False
  plain = settings | dict(mutual_attention="off")
  expected, _ = mcr.mcr(params, sample, **plain)
  found, _ = mcr.mcr(params, sample, **settings)
  np.testing.assert_array_equal(found, expected)


def test_attention_and_gates_of_mcr_are_shares():
  params, settings = build_mcr()
  sample = build_sample()
  sample["vision_mask"][[0, 6]] = False
  _, out = mcr.mcr(params, sample, **settings)
  for name in ("cmu_attention", "cross_attention", "self_attention"):
    for key, maps in out[name].items():
      expected = np.broadcast_to(sample[key[1] + "_mask"], maps.shape[:2])
      np.testing.assert_allclose(maps.sum(-1), expected, atol=1e-12)
  for t, sources in (("text", ("vision", "audio")), ("audio", ("text", "vision"))):
    total = sum(out["alpha"][(1, t, s)].sum() for s in sources)
    np.testing.assert_allclose(total, 1.0)
    np.testing.assert_allclose(out["gamma"][(1, t)].sum(), 1.0)
  assert set(out["mu"]) == {(0, m) for m in settings["modalities"]}


def test_too_long_an_input_of_mcr_names_both_lengths():
  params, settings = build_mcr()
  sample = build_sample(lengths=LENGTHS | {"audio": 6})
  with pytest.raises(ValueError, match="audio has 6 steps, at most 5"):
    mcr.mcr(params, sample, **settings)
