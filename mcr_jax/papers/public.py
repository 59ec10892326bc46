"""Every system on public data that anybody can make: no paper prints these numbers.

`benchmarks/protocols/corpora.py` writes the feature files (`mosi_table` and the like)
from public releases. Each system has its published settings; what differs is said in
the notes. The first section holds simple methods, whose numbers stand in
`published.json` as those of a paper do.
"""

from collections.abc import Mapping
from typing import Any

from mcr_jax.papers.definition import Column, Row, Section, Source, Table
from mcr_jax.papers.systems import NOTES

PAPER = "Public data"
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
SIMPLE_MOSI = ("Median", "Ridge, text", "L1-SVR, text", "L1-SVR, all")
TABLES = (
  Table(
    "mosi-words",
    PAPER,
    "MOSI words",
    "Every system on the timed words of CMU-MOSI, standard split",
    SENTIMENT,
    (
      Section(SIMPLE, tuple(Row(name, {}) for name in SIMPLE_MOSI), SIMPLE),
      Section(SYSTEMS, MOSI, SYSTEMS),
    ),
    (
      "Text is one frozen MiniLM vector a word, vision is not there: what stands in its "
      "place is the timing of the words (duration, pause, start, rate); audio is one "
      "openSMILE vector an utterance.",
      PATIENT,
      FROZEN,
    ),
  ),
)
