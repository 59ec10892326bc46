"""Tables 2 to 5 of the paper of MCR, and the runs behind its Figures 3 to 7."""

from mcr_jax.papers.definition import Column, Row, Section, Source, Table
from mcr_jax.papers.systems import row, rows, source

SIGNS = (
  "Acc2 and F1 leave out samples of label 0, as the scripts of MulT do, whose numbers "
  "the paper quotes; it says no more than positive against negative. F1 is weighted by "
  "true support, where those scripts weigh by prediction."
)
QUOTED = (
  "Most published rows but MCR's are quoted by the paper from others, who prepared "
  "the data in their own way."
)
EMOTIONS = ("happy", "sad", "angry", "neutral")
ALIGNED, UNALIGNED = "Word-aligned setting", "Unaligned setting"


def sentiment(corpus: str, group: str = "") -> tuple[Column, ...]:
  """Acc7, Acc2, F1, MAE and correlation."""
  numbers = dict(decimals=3, scale=1.0)
  shared = dict(corpus=corpus, group=group)
  return (
    Column("acc7", "Acc7", **shared),
    Column("acc2_non0", "Acc2", "acc2", **shared),
    Column("f1_non0", "F1", "f1", **shared),
    Column("mae", "MAE", **shared, **numbers),
    Column("corr", "Corr", **shared, **numbers),
  )


def of_both(corpus: str, aligned: str, unaligned: str) -> tuple[Section, ...]:
  """Both sections of a comparison; the systems of each, separated by bars."""
  data = f"{corpus}-unaligned"
  second = rows(unaligned.split("|"), corpus, data=data, unaligned=True)
  return (
    Section(ALIGNED, rows(aligned.split("|"), corpus), "aligned"),
    Section(UNALIGNED, second, "unaligned"),
  )


def by_emotion() -> tuple[Column, ...]:
  """Accuracy and F1 of each of IEMOCAP's emotions."""
  return tuple(
    Column(f"{name}/{metric}", title, f"{name}_{metric}", "iemocap", name.title())
    for name in EMOTIONS
    for metric, title in (("acc", "Acc"), ("f1", "F1"))
  )


def ablation(point: str) -> dict[str, Source]:
  """A point of the ablation on MOSI and on MOSEI, unaligned."""
  return {
    corpus: Source(
      f"mcr_{corpus}:unaligned", "mcr", corpus, sweep=f"mcr_ablation/{point}"
    )
    for corpus in ("mosi", "mosei")
  }


# By section: the name of a row, that in `published.json`, and the point of the sweep.
ABLATION = {
  "": [("MCR (full model)", "full", "full")],
  "Importance of modality": [
    ("Language only", "language only", "language"),
    ("Video only", "video only", "video"),
    ("Audio only", "audio only", "audio"),
  ],
  "Importance of crossmodal interaction": [
    ("[V, A -> L] only", "[V,A->L] only", "to_language"),
    ("[L, A -> V] only", "[L,A->V] only", "to_video"),
    ("[L, V -> A] only", "[L,V->A] only", "to_audio"),
  ],
  "Effectiveness of source modality reinforcement": [
    ("Low-level feature", "low-level source", "low_level_source"),
    ("High-level feature (FFL)", "high-level source (FFL)", "feed_forward_source"),
    ("SUM w/o SMM", "SUM w/o SMM", "no_selective_memory"),
  ],
  "Effectiveness of target modality reinforcement": [
    ("w/o CMU", "w/o CMU", "no_cmu"),
    ("w/o mutual attention", "w/o mutual attention", "no_mutual_attention"),
    ("w/o SCU", "w/o SCU", "no_scu"),
    ("w/o attention layer", "w/o attention layer", "no_attention_layer"),
  ],
  "Rationality of structure": [
    ("w/ serial structure", "serial structure", "serial"),
  ],
}
ABLATION_ROWS = tuple(
  Row(f"{title}: {name}" if title else name, ablation(point), published)
  for title, found in ABLATION.items()
  for name, published, point in found
)
ABLATION_COLUMNS = tuple(
  Column(metric, title, f"{corpus}_{published}", corpus, corpus.upper(), **more)
  for corpus in ("mosi", "mosei")
  for metric, title, published, more in (
    ("acc2_non0", "Acc2", "acc2", {}),
    ("f1_non0", "F1", "f1", {}),
    ("mae", "MAE", "mae", dict(decimals=3, scale=1.0)),
  )
)


def depth(layers: int) -> dict[str, Source]:
  """MCR with so many layers, on both corpora."""
  return {
    corpus: Source(
      f"mcr_{corpus}:unaligned", "mcr", corpus, sweep=f"mcr_depth/layers_{layers}"
    )
    for corpus in ("mosi", "mosei")
  }


def reduced(name: str, point: str) -> Row:
  """MCR on MOSEI without a part of it."""
  return Row(name, {"mosei": ablation(point)["mosei"]})


MAE = dict(decimals=3, scale=1.0)
TABLES = (
  Table(
    "mcr-table2",
    "MCR",
    "Table 2",
    "Comparison on CMU-MOSI",
    sentiment("mosi"),
    of_both(
      "mosi",
      "Graph-MFN|RAVEN|MCTN|MFM|RMFN|MulT|TCSP|PMR|FDMER|MCR",
      "RAVEN|MCTN|MulT|PMR|MTAG|MICA|MFSA|MCR",
    ),
    (SIGNS, QUOTED),
  ),
  Table(
    "mcr-table3",
    "MCR",
    "Table 3",
    "Comparison on CMU-MOSEI",
    sentiment("mosei"),
    of_both(
      "mosei",
      "Graph-MFN|RAVEN|MCTN|MFM|RMFN|MulT|TCSP|PMR|FDMER|MCR",
      "RAVEN|MCTN|MulT|PMR|MICA|MFSA|MCR",
    ),
    (SIGNS, QUOTED),
  ),
  Table(
    "mcr-table4",
    "MCR",
    "Table 4",
    "Comparison on IEMOCAP, four emotions",
    by_emotion(),
    of_both(
      "iemocap",
      "Graph-MFN|RMFN|RAVEN|MCTN|MFM|MulT|PMR|MCR",
      "RAVEN|MCTN|MulT|PMR|MICA|MCR",
    ),
    ("F1 of an emotion is weighted by the true support of its two ways.", QUOTED),
  ),
  Table(
    "mcr-table5",
    "MCR",
    "Table 5",
    "MCR without its parts, unaligned",
    ABLATION_COLUMNS,
    (Section("", ABLATION_ROWS),),
    (SIGNS,),
  ),
  Table(
    "mcr-figure3",
    "MCR",
    "Figure 3",
    "Attention of MulT and of both units of MCR on words",
    (Column("mae", "MAE", **MAE),),
    (Section("", rows(("MulT", "MCR"), "mosi", unaligned=True)),),
  ),
  Table(
    "mcr-figure4",
    "MCR",
    "Figure 4",
    "Attention of one word over the layers of MCR",
    (Column("mae", "MAE", **MAE),),
    (Section("", (row("MCR", "mosi", unaligned=True),)),),
  ),
  Table(
    "mcr-figure5",
    "MCR",
    "Figure 5",
    "Weights of source modalities in MCR on IEMOCAP",
    (Column("mean_f1", "mean F1", corpus="iemocap"),),
    of_both("iemocap", "MCR", "MCR"),
  ),
  Table(
    "mcr-figure6",
    "MCR",
    "Figure 6",
    "Convergence of MCR and its reductions on MOSEI; confusion on IEMOCAP",
    (
      Column("mae", "MAE", corpus="mosei", group="MOSEI", **MAE),
      Column("mean_acc", "mean Acc", corpus="iemocap", group="IEMOCAP"),
    ),
    (
      Section(
        "",
        (
          row("MulT", "mosei", unaligned=True),
          Row(
            "MCR",
            {
              corpus: source("MCR", corpus, unaligned=True)
              for corpus in ("mosei", "iemocap")
            },
          ),
          reduced("MCR w/o SMM", "no_selective_memory"),
          reduced("MCR w/o mutual attention", "no_mutual_attention"),
          reduced("MCR w/o attention layer", "no_attention_layer"),
        ),
      ),
    ),
  ),
  Table(
    "mcr-figure7",
    "MCR",
    "Figure 7",
    "MCR by its number of layers, unaligned",
    tuple(
      Column(metric, title, corpus=corpus, group=corpus.upper())
      for corpus in ("mosi", "mosei")
      for metric, title in (("acc2_non0", "Acc2"), ("f1_non0", "F1"))
    ),
    (Section("", tuple(Row(f"{n} layers", depth(n)) for n in range(1, 7))),),
    (SIGNS, "The paper prints no numbers; best are 3 layers on MOSI and 4 on MOSEI."),
  ),
)
