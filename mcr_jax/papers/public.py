"""Every system on public data that anybody can make: no paper prints these numbers.

`benchmarks/protocols/corpora.py` writes the feature files (`mosi_table` and the like)
from public releases. Each system has its published settings; what differs is said in
the notes. The first section holds simple methods, whose numbers stand in
`published.json` as those of a paper do.
"""

from collections.abc import Mapping
from typing import Any

from mcr_jax.papers.definition import Column, Row, Section, Source, Table
from mcr_jax.papers.published import PUBLIC
from mcr_jax.papers.systems import NOTES

SIMPLE, SYSTEMS = "Simple methods", "Systems"
PATIENCE = 8
PATIENT = (
  f"Systems whose papers train for a fixed number of epochs stop after {PATIENCE} "
  "without a better validation score; the epoch is chosen by validation either way."
)
FROZEN = (
  "Text is frozen vectors that saw no label; several papers tuned their language model."
)
NUMBERS = dict(decimals=3, scale=1.0)
SENTIMENT = (
  Column("mae", "MAE", **NUMBERS),
  Column("corr", "Corr", **NUMBERS),
  Column("acc2_has0", "Acc2 has-0", **NUMBERS),
  Column("acc2_non0", "Acc2 non-0", **NUMBERS),
  Column("acc7", "Acc7", **NUMBERS),
)
# Sequences are read whole, as long as the file has them.
WHOLE = {"data.lengths": {}, "data.buckets": 2}
STOP = {"train.patience": PATIENCE}
# One grid of steps: the one vector of speech stands beside every word.
GRID = {"model.align": "uniform"}
NAMED = {"data.modalities": ("text", "vision", "audio")}


def of_mosi(name: str, config: str, model: str, *more: Mapping[str, Any]) -> Row:
  """A row of the table of MOSI's words."""
  changes = {key: value for part in more for key, value in part.items()}
  note = NOTES.get(name, "")
  return Row(name, {"mosi": Source(config, model, "mosi", changes)}, note=note)


# In the order in which they are trained, the cheap ones first.
MOSI = (
  of_mosi("MCR, settings of MOSI words", "real_mosi_words:minilm", "mcr", NAMED),
  of_mosi("EF-LSTM", "systems:ef_lstm", "ef_lstm", WHOLE, GRID),
  of_mosi("LF-DNN", "systems:lf_dnn", "lf_dnn", WHOLE),
  of_mosi("CM-BERT", "systems:cm_bert", "cm_bert", WHOLE, GRID),
  of_mosi("MMIM", "systems:mmim", "mmim", WHOLE),
  of_mosi("MISA", "systems:misa", "misa", WHOLE),
  of_mosi("Self-MM", "systems:self_mm", "self_mm", WHOLE),
  of_mosi("MIB", "systems:mib", "mib", WHOLE, STOP),
  of_mosi("SSL", "systems:ssl_fusion", "ssl_fusion", WHOLE),
  of_mosi("MFN", "systems:mfn", "mfn", WHOLE, GRID),
  of_mosi("BBFN", "systems:bbfn", "bbfn", WHOLE, STOP),
  of_mosi("QMF", "systems:qmf", "qmf", WHOLE, GRID, STOP),
  of_mosi("MFM", "systems:mfm", "mfm", WHOLE, GRID),
  of_mosi("Graph-MFN", "systems:graph_mfn", "graph_mfn", WHOLE, GRID),
  of_mosi("RMFN", "systems:rmfn", "rmfn", WHOLE, GRID),
  of_mosi("MulT", "mult_mosi", "mult", WHOLE, STOP),
  of_mosi("MCR", "mcr_mosi", "mcr", WHOLE, STOP),
  of_mosi("RAVEN", "systems:raven", "raven", WHOLE, GRID, STOP),
  of_mosi("MCTN", "systems:mctn", "mctn", WHOLE, GRID),
  of_mosi("PMR", "systems:pmr", "pmr", WHOLE, STOP),
  of_mosi("MTAG", "systems:mtag", "mtag", WHOLE, STOP),
  of_mosi("TCSP", "systems:tcsp", "tcsp", WHOLE, STOP),
  of_mosi("Multi-modal Routing", "systems:routing", "routing", WHOLE),
)

# Classes of MELD whose F1 has a column.
EMOTIONS = ("neutral", "joy", "surprise", "anger", "sadness", "disgust", "fear")
MELD_COLUMNS = (
  Column("weighted_f1", "weighted F1", **NUMBERS),
  Column("accuracy", "Acc", **NUMBERS),
  *(Column(f"f1/{name}", f"F1 {name}", name, **NUMBERS) for name in EMOTIONS),
)


def of_meld(name: str, config: str, model: str, *modalities: str, **more: Any) -> Row:
  """A row of the table of MELD; `sentence` is a vector an utterance, `text` words."""
  changes = {"data.modalities": modalities or ("sentence",), "data.task": "multiclass"}
  quick = {"data.modalities": ("text", "audio")[: len(modalities) or 1]}
  settings = {key.replace("__", "."): value for key, value in more.items()}
  source = Source(config, model, "meld", changes | settings, quick)
  return Row(name, {"meld": source}, note=NOTES.get(name, ""))


BY_F1 = {"train__monitor": "weighted_f1", "loss__name": "cross_entropy"}
MELD = (
  of_meld("bc-LSTM", "systems:bc_lstm,meld", "bc_lstm"),
  of_meld("DialogueRNN", "systems:dialogue_rnn,meld", "dialogue_rnn"),
  of_meld("MM-DFN", "systems:mm_dfn,meld", "mm_dfn"),
  of_meld("LF-DNN", "systems:lf_dnn,meld", "lf_dnn", "sentence", "text"),
  of_meld("EF-LSTM", "systems:ef_lstm,meld", "ef_lstm", "text"),
  of_meld("MIA-Net", "real_meld", "mia_net", "sentence", "text"),
  of_meld("MCR", "own:mcr", "mcr", "text", "sentence", **BY_F1),
  of_meld("MulT", "own:mult", "mult", "text", "sentence", **BY_F1),
)
FOLDS = {"data.folds": 5, "data.fold_by": "video_id"}
WITHOUT_FOLDS = {"data.folds": 0, "data.fold_by": "id"}
# Published names of the fusion methods of `configs/real_mosi_vectors.py`.
FUSION = {
  "Concatenation": "concat",
  "TFN": "tfn",
  "LMF": "lmf",
  "CIM": "cim",
  "MHA": "mha",
  "Transformer": "transformer",
  "CT": "ct",
}


def of_vectors(name: str, variant: str = "") -> Row:
  """A row of the table of MOSI's vectors in folds."""
  config = f"real_mosi_vectors:{variant}" if variant else "real_mosi_vectors"
  model = variant or "mia_net"
  source = Source(config, model, "mosi-vectors", FOLDS, WITHOUT_FOLDS)
  return Row(name, {"mosi": source})


VECTORS = (of_vectors("MIA-Net"), *(of_vectors(*item) for item in FUSION.items()))
SIMPLE_MELD = ("Majority", "Logistic, GloVe 50", "Logistic, MiniLM")
SIMPLE_VECTORS = ("Ridge, text", "Ridge, all")
SIMPLE_MOSI = ("Median", "Ridge, text", "L1-SVR, text", "L1-SVR, all")
TABLES = (
  Table(
    "mosi-words",
    PUBLIC,
    "MOSI words",
    "Every system on the timed words of CMU-MOSI, standard split",
    SENTIMENT,
    (
      Section(SIMPLE, tuple(Row(name, {}) for name in SIMPLE_MOSI), SIMPLE),
      Section(SYSTEMS, MOSI, SYSTEMS),
    ),
    (
      "Text is one frozen MiniLM vector a word, vision is not there: in its place "
      "stands the timing of the words (duration, pause, start, rate); audio is one "
      "openSMILE vector an utterance.",
      PATIENT,
      FROZEN,
    ),
  ),
  Table(
    "meld-words",
    PUBLIC,
    "MELD words",
    "Emotions in MELD by text alone, standard split",
    MELD_COLUMNS,
    (
      Section(SIMPLE, tuple(Row(name, {}) for name in SIMPLE_MELD), SIMPLE),
      Section(SYSTEMS, MELD, SYSTEMS),
    ),
    (
      "One frozen MiniLM vector an utterance, and GloVe 50 of its words where a system "
      "reads both; features of MELD's speech and vision were not to be had, so that no "
      "row says anything of fusing them.",
      "bc-LSTM, DialogueRNN and MM-DFN read whole dialogues, the others one utterance; "
      "MCR and MulT have the settings of `own`.",
      FROZEN,
    ),
  ),
  Table(
    "mosi-vectors",
    PUBLIC,
    "MOSI vectors",
    "Fusion methods on the utterance vectors of CMU-MOSI, five folds by video",
    SENTIMENT,
    (
      Section(SIMPLE, tuple(Row(name, {}) for name in SIMPLE_VECTORS), SIMPLE),
      Section(SYSTEMS, VECTORS, SYSTEMS),
    ),
    ("Only the 752 samples whose labels the extractors had not seen.",),
  ),
)
