r"""The models on the real corpora at hand, beside simple methods.

  python benchmarks/real_data.py --data FOLDER --out runs/real [--only NAME ...]

FOLDER holds the corpora as `protocols/corpora.py` names them; the default is
$MCR_JAX_REAL_DATA. For every protocol: the feature file (`data/NAME.npz` of the output
folder), the simple methods refitted, the models trained from `configs/real_*.py`, one
table (`NAME.md`) and all numbers (`NAME.json`). A finished run is read again, not
trained again. `--set config.group.field=value` changes the configs of the models.
"""

import argparse
import json
import os
import pathlib
import sys

# The configs are found beside the package, whether or not that is installed.
sys.path.append(str(pathlib.Path(__file__).resolve().parents[1]))

from protocols import corpora, runs, simple, studies, tables  # noqa: E402

from mcr_jax.data import npz  # noqa: E402

FUSION = ("concat", "tfn", "lmf", "cim", "mha", "transformer", "ct")
VECTOR_MODELS = {"MIA-Net": "real_mosi_vectors"} | {
  name: f"real_mosi_vectors:{name}" for name in FUSION
}
# Protocol -> what its models are compared with, and the models: label -> config.
PROTOCOLS = {
  "mmmo": ("ridge audio + vision", {"MCR": "real_mmmo"}),
  "mmmo_text": ("ridge text + audio + vision", {"MCR": "real_mmmo:text"}),
  "mosi_text": ("ridge text", {"MCR": "real_mosi_words:text"}),
  "mosi_text_timing": ("ridge text + timing", {"MCR": "real_mosi_words:text_timing"}),
  "mosi_text_timing_audio": (
    "ridge text + timing + audio",
    {"MCR": "real_mosi_words", "MulT": "real_mosi_words:mult"},
  ),
  "mosi_minilm": (
    "L1-SVR text",
    {"MCR": "real_mosi_words:minilm", "MulT": "real_mosi_words:mult,minilm"},
  ),
  "mosi_vectors": ("ridge text + audio + vision", VECTOR_MODELS),
  "mosi_vectors_folds": ("ridge text + audio + vision", VECTOR_MODELS),
  "meld": (
    "logistic text + audio",
    {"MIA-Net": "real_meld"} | {name: f"real_meld:{name}" for name in FUSION},
  ),
}


def main() -> None:
  """Measures the protocols that the command line asks for."""
  args = parse()
  folder = pathlib.Path(args.data)
  if not folder.is_dir():
    sys.exit(f"--data {folder} is no folder; give the one with the corpora.")
  out = pathlib.Path(args.out)
  (out / "data").mkdir(parents=True, exist_ok=True)
  overrides = tuple(f"--{item}" for item in args.set)
  for name in args.only:
    if name in studies.STUDIES:
      studies.STUDIES[name](folder, out, overrides)
      continue
    corpus = corpora.CORPORA[name](folder)
    path = out / "data" / f"{name}.npz"
    npz.write(path, corpus.dataset)
    reference, models = PROTOCOLS[name]
    rows = simple_methods(corpus)
    for label, config in models.items():
      if args.models and label not in args.models:
        continue
      config = runs.settings(config, path, corpus, overrides)
      row = runs.model(label, corpus, config, out / name, verbose=args.verbose)
      rows += [row, tables.averaged(row)]
      report(out, name, corpus, rows, reference)
    text = report(out, name, corpus, rows, reference)
    print(text, flush=True)


def report(out, name, corpus, rows, reference) -> str:
  """Leaves the table so far, and returns it."""
  found = tables.document(corpus, rows, reference)
  text = tables.markdown(name, found)
  (out / f"{name}.md").write_text(text)
  (out / f"{name}.json").write_text(json.dumps(found, indent=1))
  return text


def simple_methods(corpus: corpora.Corpus) -> list[tables.Row]:
  """The rows of the simple methods that fit a corpus."""
  names = tuple(corpus.dataset.modalities)
  methods = {}
  if tables.scheme(corpus) == "multiclass":
    methods["majority"] = simple.majority
    subsets, fit, label = [*((m,) for m in names), names], simple.logistic, "logistic"
  else:
    for which in ("mean", "median"):
      methods[f"{which} of train"] = lambda c, s, w=which: simple.constant(c, s, w)
    several = len(names) > 1 and "timing" not in names and corpus.repeats == 1
    subsets = [*((m,) for m in names), names] if several else [names]
    fit, label = simple.ridge, "ridge"
  for subset in subsets:
    methods[f"{label} {' + '.join(subset)}"] = lambda c, s, n=subset: fit(c, s, n)
  if label == "ridge":
    # Of good words alone a linear method makes more than of all that there is.
    for subset in dict.fromkeys((names[:1], names)):
      name = f"L1-SVR {' + '.join(subset)}"
      methods[name] = lambda c, s, n=subset: simple.svr(c, s, n)
  if corpus.transcripts is not None:
    methods["ridge TF-IDF"] = simple.tfidf
  rows = []
  for name, method in methods.items():
    per_split = [method(corpus, split)[None] for split in corpus.splits]
    if label == "ridge":
      per_split = [found[..., None] for found in per_split]
    rows.append(tables.pool(name, corpus, per_split))
  return rows


def parse() -> argparse.Namespace:
  """The command line."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  choices = [*PROTOCOLS, *studies.STUDIES]
  default = os.environ.get("MCR_JAX_REAL_DATA", "../shared/data")
  parser.add_argument("--data", default=default, help="folder with the corpora")
  parser.add_argument("--out", required=True, help="folder of everything written")
  parser.add_argument("--only", nargs="+", choices=choices, default=choices)
  parser.add_argument("--models", nargs="+", help="labels, where not all are wanted")
  parser.add_argument("--set", nargs="+", default=[], metavar="config.x.y=value")
  parser.add_argument("--verbose", action="store_true", help="a line an epoch")
  return parser.parse_args()


if __name__ == "__main__":
  main()
