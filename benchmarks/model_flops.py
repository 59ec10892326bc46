r"""What a sample costs: MCR, MCR as its paper writes it, and MulT.

  python benchmarks/model_flops.py --json model_flops.json

At the shapes of three corpora, aligned and unaligned, and at the mean lengths of
CMU-MOSI's clips, which is what a model that computes no padding pays. Nothing is run:
the numbers are counted on the programs.
"""

import argparse
import json
import pathlib

import jax

from mcr_jax import flops, models
from mcr_jax.contract import Spec

WIDTHS = {"text": 300, "vision": 35, "audio": 74}
EMOTIONS = (4, 2)
# Steps of text, vision and audio, and the shape of a prediction. MOSEI and IEMOCAP have
# the lengths of the files that MulT's authors share.
CORPORA = {
  "mosi": {"aligned": (50, 50, 50), "unaligned": (50, 500, 375)},
  "mosei": {"aligned": (50, 50, 50), "unaligned": (50, 500, 500)},
  "iemocap": {"aligned": (20, 20, 20), "unaligned": (20, 500, 400)},
}
# Means over CMU-MOSI: 12.4 words, 60.5 frames and 50.4 steps of audio, between these.
REAL = ((12.4, 60.5, 50.4), ((12, 60, 50), (13, 61, 51)))
# Table 1 of MCR's paper; Table 5 of MulT's.
HEADS = {"mosi": 10, "mosei": 8, "iemocap": 10}
LAYERS = {"mosi": 3, "mosei": 4, "iemocap": 3}
LITERAL = {"scu_scoring": "literal", "cmu_exchange": "literal"}
MODELS = {
  "MCR": lambda corpus: mcr(corpus),
  "MCR, literal": lambda corpus: mcr(corpus, **LITERAL),
  "MulT d=40": lambda corpus: (
    "mult",
    {"width": 40, "heads": HEADS[corpus], "layers": 4, **kernels(corpus)},
  ),
  # As the authors' program sets it by default, and as peers measure it.
  "MulT d=30": lambda corpus: ("mult", {}),
}
PEER = {"aligned": 116.6, "unaligned": 1352.4}

CONVENTION = """\
MFLOP: millions of floating-point operations of one sample, two a multiply-add, in
matrix products and convolutions; softmax, norms and other element-wise work count
nothing. train is forward and the gradient for all parameters, without what is computed
again to save memory. GB is what the parameters, their gradient and Adam's two moments
take in float32. `real` is the mean of the two whole numbers of steps around the mean
length of each modality (12.4/60.5/50.4) in MOSI's unaligned model; longer and shorter
samples cost more together than twice their mean. The authors' program of MulT d=30 was
measured at 116.6 MFLOP forward aligned and 1352.4 unaligned, 1,073,731 parameters.
MCR, literal has the paper's W in its attention layers and multiplies it for every
sample, as the equations say; ours multiplies it with U once a batch."""


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--models", nargs="*", default=list(MODELS), choices=MODELS)
  parser.add_argument("--corpora", nargs="*", default=list(CORPORA), choices=CORPORA)
  parser.add_argument("--modules", action="store_true", help="what each module costs")
  parser.add_argument("--json", type=pathlib.Path, help="file for the whole table")
  args = parser.parse_args()
  machine = f"jax {jax.__version__}  counted for {jax.default_backend()}  float32"
  print(f"{machine}\n\n{HEAD}")
  rows = []
  for label in args.models:
    for corpus in args.corpora:
      for row in measure(label, corpus):
        rows.append(row)
        print(line(row), flush=True)
        if args.modules:
          print(modules(row))
  print(f"\n{CONVENTION}")
  if args.json:
    report = {"machine": machine, "convention": CONVENTION, "rows": rows}
    args.json.write_text(json.dumps(report, indent=1) + "\n")


def mcr(corpus, **fields):
  own = {"width": 40, "heads": HEADS[corpus], "num_layers": LAYERS[corpus]}
  return "mcr", {**own, "kernel": 3, **kernels(corpus), **fields}


def kernels(corpus):
  return {"kernel": 3, "kernels": {"audio": 5} if corpus == "iemocap" else {}}


def measure(label, corpus):
  """The rows of one model on one corpus."""
  for setting, steps in CORPORA[corpus].items():
    yield row(label, corpus, setting, steps, steps, [steps])
  if corpus == "mosi":
    mean, around = REAL
    yield row(label, corpus, "real", mean, CORPORA["mosi"]["unaligned"], around)


def row(label, corpus, setting, steps, longest, counted):
  """One row: the mean over the shapes in `counted` of a model that admits `longest`."""
  name, fields = MODELS[label](corpus)
  outputs = EMOTIONS if corpus == "iemocap" else (1,)
  lengths = dict(zip(WIDTHS, longest, strict=True))
  # Attention in blocks computes some scores twice and pads the last block.
  model = models.build(name, Spec(lengths, WIDTHS, outputs), **fields)
  variables = jax.eval_shape(model.init, jax.random.key(0), batch(longest))
  forward = [flops.count_model(model, variables, batch(n)) for n in counted]
  training = [flops.count_training(model, variables, batch(n)) for n in counted]
  assert not any(c.uncounted or c.open_loops for c in forward + training)
  mean = lambda values: sum(values) / len(counted)
  parameters = flops.parameters(variables["params"])
  found = {
    "model": label,
    "corpus": corpus,
    "setting": setting,
    "steps": dict(zip(WIDTHS, steps, strict=True)),
    "fields": {k: v for k, v in fields.items() if v != {}},
    "parameters": parameters,
    "adam_bytes": 16 * parameters,
    "forward_flops": mean([c.flops for c in forward]),
    "training_flops": mean([c.flops - c.recomputed for c in training]),
    "by_module": forward[0].by_module(),
  }
  if label == "MulT d=30" and corpus == "mosi" and setting in PEER:
    found["measured_mflops"] = PEER[setting]
  return found


def batch(steps):
  """The shapes of one sample."""
  return Spec(dict(zip(WIDTHS, steps, strict=True)), WIDTHS).example(1)


HEAD = (
  f"{'model':13} {'corpus':8} {'setting':10} {'text/vision/audio':>17} "
  f"{'parameters':>13} {'GB':>6} {'MFLOP fwd':>10} {'train':>9} {'ratio':>5}"
)


def line(row):
  steps = "/".join(f"{n:g}" for n in row["steps"].values())
  forward, training = row["forward_flops"], row["training_flops"]
  text = (
    f"{row['model']:13} {row['corpus']:8} {row['setting']:10} {steps:>17} "
    f"{row['parameters']:13,} {row['adam_bytes'] / 1e9:6.2f} {forward / 1e6:10,.1f} "
    f"{training / 1e6:9,.1f} {training / forward:5.2f}"
  )
  if "measured_mflops" in row:
    text += f"  measured {row['measured_mflops']:,}"
  return text


def modules(row):
  shares = [
    f"  {name:24} {count / 1e6:10,.2f}" for name, count in row["by_module"].items()
  ]
  return "\n".join(shares)


if __name__ == "__main__":
  main()
