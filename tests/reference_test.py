"""The oracles themselves: what must hold for them whatever the package does."""

import numpy as np
import pytest

from tests.reference import mcr, mia_net, mult, trees

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
    predict(cmu=False),
    predict(scu=False),
    predict(mutual_attention=False),
    predict(attention_layer=False),
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


def change_step(tree, name, step):
  """The tree with every parameter that belongs to `step` of a modality changed."""
  changed = {}
  for key, value in tree.items():
    owner = key.split("_", 1)[-1]
    if isinstance(value, dict):
      changed[key] = change_step(value, name, step)
      if owner == name and key.startswith(("scu_", "update_")):
        for part in {"score_cross", "score_self", "bias"} & set(value):
          changed[key][part] = changed[key][part].copy()
          changed[key][part][..., step, :] += 1e3
    else:
      changed[key] = value = value.copy()
      if key == f"exchange_bias_{name}":
        value[..., step] += 1e3
      elif key == f"bias_{name}":
        value[..., step, :] += 1e3
      elif key.startswith(f"exchange_{name}_"):
        value[..., step, :] += 1e3
      elif key.startswith("exchange_") and key.endswith(f"_{name}"):
        value[..., step] += 1e3
  return changed


def test_parameters_of_a_position_belong_to_that_place_in_time():
  params, settings = build_mcr()
  sample = build_sample()
  sample["vision_mask"][[1, 5]] = False
  expected, _ = mcr.mcr(params, sample, **settings)
  predict = lambda step: mcr.mcr(
    change_step(params, "vision", step), sample, **settings
  )[0]
  for step in np.flatnonzero(~sample["vision_mask"]):
    np.testing.assert_array_equal(predict(step), expected)
  for step in np.flatnonzero(sample["vision_mask"]):
    assert abs(predict(step) - expected).max() > 1e-3


def test_in_series_the_self_cross_unit_has_the_last_word():
  params, settings = build_mcr(num_layers=1)
  for t in settings["modalities"]:
    unit = params["last"]["scu_" + t]
    for part in (unit["cross"]["out"], unit["self"]["out"]):
      part["kernel"][:], part["bias"][:] = 0.0, 0.0
    for part in unit["feed_forward"]["output"].values():
      part[:] = 0.0
  sample = build_sample()
  serial = mcr.mcr(params, sample, **settings, structure="serial")[1]["target"]
  parallel = mcr.mcr(params, sample, **settings)[1]["target"]
  alone = mcr.mcr(params, sample, **settings, scu=False)[1]["target"]
  for key in serial:
    assert not serial[key].any()
    np.testing.assert_array_equal(parallel[key], alone[key])


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
  plain = settings | dict(mutual_attention=False)
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


MIA_SIZES = {"text": 6, "vision": 4, "audio": 5}


def build_mia_net(auxiliaries=("vision", "audio"), seed=0, **changes):
  settings = dict(main="text", auxiliaries=auxiliaries)
  fields = dict(kernel_size=3, channels=3, features=MIA_SIZES) | settings | changes
  shapes, statistics = trees.mia_net(outputs=(2,), **fields)
  rng = np.random.default_rng(seed)
  statistics = trees.draw(statistics, rng)
  for module in statistics.values():
    module["norm"]["var"] = abs(module["norm"]["var"]) + 0.5
  return trees.draw(shapes, rng), statistics, settings


def build_mia_batch(size=4, seed=1):
  rng = np.random.default_rng(seed)
  batch = {"weight": np.ones(size)}
  for m, width in MIA_SIZES.items():
    batch[m] = rng.normal(size=(size, 3, width))
    batch[m + "_mask"] = rng.permuted(np.tile([True, True, False], (size, 1)), axis=1)
  return batch


def rows(batch, index):
  return {name: values[index] for name, values in batch.items()}


def test_mia_net_pools_sequences_over_their_real_steps():
  params, statistics, settings = build_mia_net()
  batch = build_mia_batch()
  vectors, dirty = {"weight": batch["weight"]}, dict(batch)
  for m in MIA_SIZES:
    mask = batch[m + "_mask"][..., None]
    dirty[m] = np.where(mask, batch[m], np.nan)
    vectors[m] = np.where(mask, batch[m], 0.0).sum(1, keepdims=True) / 2.0
    vectors[m + "_mask"] = np.ones((4, 1), bool)
  expected = mia_net.mia_net(params, statistics, batch, **settings)[0]
  for other in (vectors, dirty):
    found = mia_net.mia_net(params, statistics, other, **settings)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_interactive_attention_is_attention_with_scale_one():
  params, statistics, settings = build_mia_net(("vision",))
  _, out, _ = mia_net.mia_net(params, statistics, build_mia_batch(), **settings)
  m, a = out["lifted_text"], out["lifted_vision"]
  query = np.einsum("ce,bej->bcj", params["module_0"]["kernel"]["W"], m)
  s = np.einsum("bci,bcj->bij", a, query)
  p = np.exp(s) / np.exp(s).sum(axis=1, keepdims=True)
  np.testing.assert_allclose(out["S_0"], s, rtol=1e-10)
  np.testing.assert_allclose(out["P_0"], p, rtol=1e-10)
  np.testing.assert_allclose(out["transformed_0"], np.einsum("bci,bij->bcj", a, p))


def test_a_missing_auxiliary_leaves_the_main_features_and_the_others_alone():
  params, statistics, settings = build_mia_net()
  batch = build_mia_batch()
  batch["vision_mask"][2] = False
  keep = np.array([0, 1, 3])
  settings["train"] = True
  _, out, new = mia_net.mia_net(params, statistics, batch, **settings)
  _, without, others = mia_net.mia_net(
    params, statistics, rows(batch, keep), **settings
  )
  np.testing.assert_array_equal(out["main_0"][2], out["lifted_text"][2])
  np.testing.assert_allclose(out["main_0"][keep], without["main_0"], rtol=1e-12)
  for name in ("mean", "var"):
    found, expected = (tree["module_0"]["norm"][name] for tree in (new, others))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_rows_of_weight_zero_do_not_enter_the_batch_statistics():
  params, statistics, settings = build_mia_net()
  batch = build_mia_batch()
  batch["weight"][1] = 0.0
  batch["text"][1] = 1e6
  keep = np.array([0, 2, 3])
  settings["train"] = True
  found, out, new = mia_net.mia_net(params, statistics, batch, **settings)
  expected, _, others = mia_net.mia_net(
    params, statistics, rows(batch, keep), **settings
  )
  np.testing.assert_allclose(found[keep], expected, rtol=1e-12)
  for n in range(2):
    norm = params[f"module_{n}"]["norm"]
    plain = (out[f"main_{n}"][keep] - norm["bias"][:, None]) / norm["scale"][:, None]
    np.testing.assert_allclose(plain.mean((0, 2)), 0.0, atol=1e-12)
    for name in ("mean", "var"):
      pair = [tree[f"module_{n}"]["norm"][name] for tree in (new, others)]
      np.testing.assert_allclose(*pair, rtol=1e-12)


def test_a_sample_of_mia_net_is_alone_outside_training():
  params, statistics, settings = build_mia_net()
  batch = build_mia_batch()
  whole, _, same = mia_net.mia_net(params, statistics, batch, **settings)
  for i in range(4):
    one = mia_net.mia_net(params, statistics, rows(batch, [i]), **settings)[0]
    np.testing.assert_allclose(one[0], whole[i], rtol=1e-12)
  mean = statistics["module_1"]["norm"]["mean"]
  np.testing.assert_array_equal(same["module_1"]["norm"]["mean"], mean)


def test_the_psd_kernel_is_a_regularized_one_without_a_penalty():
  params, statistics, settings = build_mia_net(kernel="psd")
  free, matrices = dict(params), []
  for n in range(2):
    matrices.append(params[f"module_{n}"]["kernel"]["L"])
    matrices[-1] = matrices[-1] @ matrices[-1].T
    free[f"module_{n}"] = params[f"module_{n}"] | {"kernel": {"W": matrices[-1]}}
  batch = build_mia_batch()
  expected = mia_net.mia_net(params, statistics, batch, kernel="psd", **settings)[0]
  found = mia_net.mia_net(free, statistics, batch, **settings)[0]
  np.testing.assert_array_equal(found, expected)
  assert mia_net.kernel_regularization(matrices) < 1e-12
  # Off-diagonals differ by 2 twice; the symmetric part has -1 - sqrt(5) below zero.
  penalty = mia_net.kernel_regularization([np.array([[1.0, 2.0], [0.0, -3.0]])])
  np.testing.assert_allclose(penalty, 4.0 + 2.0 * (1.0 + np.sqrt(5.0)))


def test_one_modality_of_mia_net_goes_straight_to_the_output():
  params, statistics, settings = build_mia_net(())
  batch = build_mia_batch()
  found, out, _ = mia_net.mia_net(params, statistics, batch, **settings)
  expected = out["pooled_text"] @ params["output"]["kernel"] + params["output"]["bias"]
  np.testing.assert_array_equal(found, expected)


def test_the_losses_of_mia_net_are_weighted_means():
  predictions, weight = np.array([[1.0], [4.0], [np.pi]]), np.array([1.0, 1.0, 0.0])
  task = mia_net.mean_absolute_error(predictions, np.array([2.0, 2.0, 9.0]), weight)
  assert task == 1.5
  assert mia_net.joint_loss(task, 10.0, 0.3) == 0.7 * 1.5 + 3.0
  logits = np.log([[1.0, 3.0], [1.0, 1.0], [5.0, 1.0]])
  task = mia_net.cross_entropy(logits, np.array([1, 0, 1]), weight)
  np.testing.assert_allclose(task, -np.log([0.75, 0.5]).mean())


def build_mult(number=3, seed=0, **changes):
  settings = dict(modalities=NAMES[:number], heads=2, layers=2, self_layers=3)
  settings |= dict(outputs=(2,)) | changes
  shapes = trees.mult(width=4, features=FEATURES, kernels=KERNELS, **settings)
  return trees.draw(shapes, np.random.default_rng(seed)), settings


def test_mult_has_as_many_parameters_as_the_published_program():
  names = ("text", "audio", "vision")
  # Counted on the authors' program at these settings, kernels of 1.
  shapes = trees.mult(
    modalities=names,
    features=dict(text=300, audio=74, vision=35),
    kernels=dict.fromkeys(names, 1),
    width=30,
    heads=5,
    layers=5,
    self_layers=5,
  )
  assert trees.count(shapes) == 1_073_731


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_padding_and_holes_of_mult_hold_nothing_that_is_read(number):
  params, settings = build_mult(number)
  sample = build_sample()
  sample["text_mask"][2:] = False
  sample["vision_mask"][[1, 5, 6]] = False
  expected, out = mult.mult(params, sample, **settings)
  assert np.isfinite(expected).all()
  dirty = dict(sample)
  for m in settings["modalities"]:
    dirty[m] = np.where(sample[m + "_mask"][:, None], sample[m], np.nan)
  dirty |= {"text": dirty["text"][:2], "text_mask": dirty["text_mask"][:2]}
  np.testing.assert_array_equal(mult.mult(params, dirty, **settings)[0], expected)
  for (t, _, _), maps in out["cross_attention"].items():
    present = np.broadcast_to(sample[t + "_mask"], maps.shape[:2])
    np.testing.assert_allclose(maps.sum(-1), present, atol=1e-12)
  np.testing.assert_array_equal(out["last"][("text",)], out["self"][("text",)][1])


def test_mult_with_missing_modalities_reads_zeros():
  params, settings = build_mult()
  names = settings["modalities"]
  for missing in (names[:1], names[1:], names):
    sample = build_sample()
    for m in missing:
      sample[m + "_mask"][:] = False
    prediction, out = mult.mult(params, sample, **settings)
    assert np.isfinite(prediction).all()
    for t in names:
      assert out["last"][(t,)].any() == (t not in missing)


def test_batches_of_the_oracles_are_their_samples():
  samples = [build_sample(seed=seed) for seed in (1, 2)]
  batch = {name: np.stack([sample[name] for sample in samples]) for name in samples[0]}
  for one, many, (params, settings) in (
    (mcr.mcr, mcr.mcr_batch, build_mcr()),
    (mult.mult, mult.mult_batch, build_mult()),
  ):
    found, outs = many(params, batch, **settings)
    assert found.shape == (2, 2) and len(outs) == 2
    np.testing.assert_array_equal(found[1], one(params, samples[1], **settings)[0])
