r"""What fusing one more modality costs: the efficiency table of MIA-Net's paper.

  python benchmarks/fusion_flops.py --json fusion_flops.json --plot fusion_flops.png

Ours beside what Table 10 of the paper prints, for 2, 3, 4, 6 and 8 modalities. The
first three are text, audio and video with 1024, 768 and 256 features; further ones are
as wide as audio and video in turn. The paper does not say what its fourth modality is,
so four modalities come twice: with a fourth of 768 features (4) and of 256 (4v).
"""

import argparse
import functools
import json
import pathlib
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np

from mcr_jax import cli, flops
from mcr_jax.ops import kernels
from mcr_jax.papers import efficiency
from mcr_jax.papers.efficiency import AUDIO, CASES, METHODS, build

CONVENTION = """\
MAdds: multiply-adds of matrix products and convolutions for one sample, one output.
Softmax, norms and other element-wise work count nothing. The paper's "FLOPs (M)" are
multiply-adds too: for TFN, CIM and MHA they are its parameters at six positions, for
Transformer and CT less than that, so that some layers were left out; that is inferred
from the numbers, the paper does not say it. Ours count what attention adds as well.
FLOPs are twice the multiply-adds; train is forward, penalty and the gradient for all
parameters, without what is computed again to save memory. Params are everything that
is trained, the output layer included. Growth is from 3 to 4 modalities (768 features;
4v: 256). Printed: the paper's numbers; 9011.20 and 1116.16 are 8.80 G and 1.09 G times
1024, printed as M. Time and memory (parameters, gradients, temporaries) are of one step
without an optimiser, divided by the batch; "-" did not fit, or was not asked for."""

PUBLISHED = efficiency.printed()
PUBLISHED_IN_G_TIMES_1024 = {("TFN", "4"), ("CT", "4")}


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--methods", nargs="*", default=list(METHODS), choices=METHODS)
  parser.add_argument("--cases", nargs="*", default=list(CASES), choices=CASES)
  parser.add_argument("--batch", type=int, default=18, help="samples a timed step")
  parser.add_argument("--repeats", type=int, default=5, help="timed steps, 0 for none")
  parser.add_argument("--memory", type=float, default=4.0, help="GiB a step may use")
  parser.add_argument("--json", type=pathlib.Path, help="file for the whole table")
  parser.add_argument("--plot", type=pathlib.Path, help="file for a picture of it")
  parser.add_argument(
    "--similarity", action="store_true", help="time both forms of MIA-Net's kernel"
  )
  args = parser.parse_args()
  for path in filter(None, (args.json, args.plot)):
    cli.output_file(path)
  device = f"{jax.default_backend()} x{jax.device_count()}"
  machine = f"jax {jax.__version__}  {device}  float32  batch {args.batch}"
  print(f"{machine}  median of {args.repeats}, [p10, p90]\n")
  if args.similarity:
    return compare_similarities(args.repeats)
  rows = []
  print(HEAD)
  for method in args.methods:
    for case in args.cases:
      rows.append(measure(method, case, args))
      print(line(rows[-1]), flush=True)
    add_growth(rows, method)
  print(growth_table(rows))
  print(CONVENTION)
  report = {"machine": machine, "convention": CONVENTION, "rows": rows}
  if args.json:
    args.json.write_text(json.dumps(report, indent=1) + "\n")
  if args.plot:
    draw(rows, args.plot)


def measure(method, case, args):
  """One row of the table."""
  model, variables, batch = build(method, case, 1, implementation="stored")
  forward = flops.count_model(model, variables, batch)
  training = flops.count_training(model, variables, batch)
  row = {
    "method": method,
    "modalities": case,
    "widths": CASES[case],
    "parameters": flops.parameters(variables["params"]),
    "multiply_adds": forward.multiply_adds,
    "forward_flops": forward.flops,
    "training_flops": training.flops - training.recomputed,
    "by_module": forward.by_module(),
  }
  if published := PUBLISHED.get(method, {}).get(case[0]):
    row["published_mflops"], row["published_mparams"] = published
    if (method, case[0]) in PUBLISHED_IN_G_TIMES_1024:
      row["published_mflops_corrected"] = published[0] / 1.024
  # Parameters and their gradient, and as much again for what a step holds.
  if args.repeats and 12 * row["parameters"] < args.memory * 2**30:
    row |= run(*build(method, case, args.batch), args)
  return row


def run(model, variables, batch, args):
  """Times and memory of a prediction and of a training step, a sample."""

  def loss(params, state, batch):
    output, _ = model.apply(
      {"params": params, **state}, batch, train=True, mutable=list(state)
    )
    return jnp.abs(output.predictions).mean() + sum(output.losses.values())

  random = np.random.default_rng(0)
  fill = lambda s: jnp.asarray(
    np.ones(s.shape, bool)
    if s.dtype == bool
    else 0.02 * random.standard_normal(s.shape, np.float32)
  )
  variables, batch = jax.tree.map(fill, (variables, batch))
  batch = batch.replace(weight=jnp.ones(args.batch))
  state = {name: tree for name, tree in variables.items() if name != "params"}
  state = jax.tree.map(jnp.ones_like, state)
  variables = {"params": variables["params"], **state}
  predict = jax.jit(lambda v, b: model.apply(v, b).predictions)
  predict = predict.lower(variables, batch).compile()
  train = jax.jit(jax.value_and_grad(loss))
  train = train.lower(variables["params"], state, batch).compile()
  assert np.isfinite(predict(variables, batch)).all()
  memory = train.memory_analysis()
  held = memory.argument_size_in_bytes + memory.output_size_in_bytes
  held += memory.temp_size_in_bytes
  timed = lambda fn, *a: [t / args.batch for t in times(fn, args.repeats, *a)]
  return {
    "forward_ms": spread(timed(predict, variables, batch)),
    "training_ms": spread(timed(train, variables["params"], state, batch)),
    "step_mb": held / 2**20,
    "sample_mb": held / 2**20 / args.batch,
    "batch": args.batch,
  }


def times(fn, repeats, *arguments):
  """Milliseconds of every call after the first."""
  found = []
  for _ in range(repeats + 1):
    start = time.perf_counter()
    jax.block_until_ready(fn(*arguments))
    found.append(1e3 * (time.perf_counter() - start))
  return found[1:]


def spread(values):
  """Median, 10th and 90th percentile."""
  low, high = np.percentile(values, [10, 90])
  return [statistics.median(values), float(low), float(high)]


HEAD = (
  f"{'method':14} {'n':>2} {'params M':>10} {'MAdds M':>10} {'GFLOP fwd':>10} "
  f"{'train':>9} {'fwd ms':>7} {'train ms':>8} {'[p10, p90]':>15} {'MB':>6} "
  f"{'printed MAdds':>13} {'params':>8}"
)


def line(row):
  timing = f"{'-':>7} {'-':>8} {'-':>15} {'-':>6}"
  if "training_ms" in row:
    median, low, high = row["training_ms"]
    timing = (
      f"{row['forward_ms'][0]:7.2f} {median:8.2f} {f'[{low:.2f}, {high:.2f}]':>15}"
    )
    timing += f" {row['sample_mb']:6.1f}"
  printed = ""
  if "published_mflops" in row:
    printed = f"{row['published_mflops']:13,.2f} {row['published_mparams']:8,.2f}"
  short = lambda x: f"{x:,.3f}" if x < 1e5 else f"{x:.3e}"
  return (
    f"{row['method']:14} {row['modalities']:>2} {short(row['parameters'] / 1e6):>10} "
    f"{short(row['multiply_adds'] / 1e6):>10} {short(row['forward_flops'] / 1e9):>10} "
    f"{short(row['training_flops'] / 1e9):>9} {timing} {printed}"
  ).rstrip()


def add_growth(rows, method):
  """How many times more four modalities cost than three, on the rows of four."""
  found = {row["modalities"]: row for row in rows if row["method"] == method}
  for case in ("4", "4v"):
    if "3" in found and case in found:
      for key in ("multiply_adds", "parameters"):
        found[case][f"{key}_growth"] = found[case][key] / found["3"][key]


def growth_table(rows):
  lines = [
    "",
    f"{'3 -> 4':14} {'MAdds':>9} {'params':>9}   4v {'MAdds':>9} {'params':>9}",
  ]
  lines[-1] += f"   printed {'MAdds':>8} {'params':>8}"
  grown = {}
  for row in rows:
    if "parameters_growth" in row:
      pair = row["multiply_adds_growth"], row["parameters_growth"]
      grown.setdefault(row["method"], {})[row["modalities"]] = pair
  for method, cases in grown.items():
    text = f"{method:14}"
    for case, gap in (("4", " "), ("4v", "      ")):
      if case in cases:
        text += gap + " ".join(f"{value:9.4f}" for value in cases[case])
    if method in PUBLISHED:
      three, four = (PUBLISHED[method][case] for case in ("3", "4"))
      scale = 1.024 if (method, "4") in PUBLISHED_IN_G_TIMES_1024 else 1.0
      text += f"           {four[0] / three[0] / scale:8.3f} {four[1] / three[1]:8.3f}"
    lines.append(text)
  return "\n".join([*lines, ""])


def draw(rows, path):
  """Multiply-adds and parameters by the number of modalities, paper's as rings."""
  import matplotlib

  matplotlib.use("Agg")
  import matplotlib.pyplot as plt

  figure, axes = plt.subplots(1, 2, figsize=(12, 5), layout="constrained")
  panels = zip(
    axes,
    ("multiply_adds", "parameters"),
    ("published_mflops_corrected", "published_mparams"),
    ("multiply-adds a sample", "parameters"),
    strict=True,
  )
  methods = list(dict.fromkeys(row["method"] for row in rows))
  for axis, key, printed, label in panels:
    for i, method in enumerate(methods):
      own = [r for r in rows if r["method"] == method and r["modalities"] != "4v"]
      color = "black" if method == "MIA-Net" else plt.cm.tab10(i % 10)
      x = [int(row["modalities"]) for row in own]
      y = [row[key] for row in own]
      wide = 2.5 if method == "MIA-Net" else 1.2
      axis.plot(x, y, "o-", ms=4, lw=wide, color=color, label=method)
      rings = [
        (int(r["modalities"]), 1e6 * r.get(printed, r.get("published_mflops", 0)))
        for r in own
        if "published_mflops" in r
      ]
      if rings:
        axis.plot(*zip(*rings, strict=True), "o", ms=11, mfc="none", color=color)
    # TFN is 65 times dearer with every modality; beyond a point the line says enough.
    axis.set(yscale="log", ylim=(4e5, 3e10))
    axis.set(xlabel="modalities", ylabel=label, xticks=[2, 3, 4, 6, 8])
    axis.grid(alpha=0.3)
  axes[0].set_title("rings: printed in the paper, G x 1024 corrected", fontsize=10)
  figure.legend(*axes[1].get_legend_handles_labels(), loc="outside right center")
  figure.savefig(path, dpi=120)


def _square_of(function, *arguments):
  return jnp.square(function(*arguments)).sum()


def compare_similarities(repeats):
  """MIA-Net's read of 1024 main by 768 auxiliary columns, stored and in blocks."""
  print(f"{'batch':>5} {'form':8} {'forward ms':>10} {'gradient':>10} {'temp. MB':>10}")
  random = np.random.default_rng(0)
  for size in (18, 512):
    shapes = ((size, 4, AUDIO), (4, 4), (size, 4, 1024))
    arrays = [jnp.asarray(random.standard_normal(s, np.float32)) for s in shapes]
    answers = []
    for form in ("stored", "blocked"):
      read = functools.partial(kernels.read_columns, implementation=form)
      slope = jax.grad(functools.partial(_square_of, read), (0, 1, 2))
      forward = jax.jit(read)
      gradient = jax.jit(slope).lower(*arrays).compile()
      answers.append((forward(*arrays), gradient(*arrays)))
      found = [
        statistics.median(times(f, repeats, *arrays)) for f in (forward, gradient)
      ]
      temporary = gradient.memory_analysis().temp_size_in_bytes / 2**20
      print(f"{size:5} {form:8} {found[0]:10.1f} {found[1]:10.1f} {temporary:10.1f}")
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-2, atol=1e-2), *answers
    )


if __name__ == "__main__":
  main()
