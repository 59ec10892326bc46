"""The systems of the papers' tables by their published names."""

from collections.abc import Iterable

from mcr_jax.papers.definition import Row, Source

# Published name -> name of the model.
MODELS = {
  "BBFN": "bbfn",
  "CM-BERT": "cm_bert",
  "DialogueRNN": "dialogue_rnn",
  "A-DMN": "a_dmn",
  "CTNet": "ctnet",
  "DSAGCN": "dsagcn",
  "FDMER": "fdmer",
  "Graph-MFN": "graph_mfn",
  "HIS-MSA": "his_msa",
  "LMF": "lmf_mult",
  "MCR": "mcr",
  "MCTN": "mctn",
  "MFM": "mfm",
  "MFSA": "mfsa",
  "MIA-Net": "mia_net",
  "MIB": "mib",
  "MICA": "mica",
  "MISA": "misa",
  "MM-DFN": "mm_dfn",
  "MMIM": "mmim",
  "MTAG": "mtag",
  "MTSA": "mtsa",
  "MulT": "mult",
  "Multi-modal Routing": "routing",
  "PMR": "pmr",
  "QMF": "qmf",
  "RAVEN": "raven",
  "RMFN": "rmfn",
  "SSL": "ssl_fusion",
  "TCM-LSTM": "tcm_lstm",
  "TCSP": "tcsp",
}
# What the name of a row does not say.
NOTES = {
  "CM-BERT": "The paper tunes its language model; text is as the file has it here.",
  "LMF": "The row quotes LMF-MulT, not LMF.",
  "MISA": "The paper tunes its language model; text is as the file has it here.",
  "MMIM": "The paper tunes its language model; text is as the file has it here.",
  "BBFN": "The paper tunes its language model; text is as the file has it here.",
  "SSL": "The paper tunes both of its encoders; the vectors are frozen here.",
  "QMF": "The quantum-inspired fusion, not the quality-aware one.",
  "MIB": "Early in Table 1, late in Table 2; the released script leaves labels of 0 "
  "out of MAE.",
  "DialogueRNN": "The printed numbers were chosen by the test split.",
  "MM-DFN": "The printed numbers were chosen by the test split; fear and disgust have "
  "none of their own in its paper.",
}
# Models with config files of their own, one a corpus.
OWN = ("mcr", "mult", "mia_net")


def source(
  name: str,
  corpus: str,
  *,
  data: str = "",
  unaligned: bool = False,
  variant: str = "",
) -> Source:
  """What a system is trained as on a corpus.

  Args:
    name: published.
    corpus: whose settings.
    data: the data set; that of the corpus where not given.
    unaligned: whether with the settings of unaligned sequences.
    variant: of the system, as `configs/systems.py` names it, or "".
  """
  model = MODELS[name]
  if model in OWN:
    config = f"{model}_{corpus}" + ":unaligned" * unaligned
  else:
    parts = (model, corpus, "unaligned" * unaligned, variant)
    config = f"systems:{','.join(filter(None, parts))}"
  return Source(config, model, data or corpus)


def row(name: str, corpus: str, **more) -> Row:
  """The row of a system on one corpus, see `source`."""
  found = source(name, corpus, **more)
  return Row(name, {corpus: found}, note=NOTES.get(name, ""))


def rows(names: Iterable[str], corpus: str, **more) -> tuple[Row, ...]:
  """The rows of several systems, see `row`."""
  return tuple(row(name, corpus, **more) for name in names)
