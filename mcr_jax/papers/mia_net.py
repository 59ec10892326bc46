"""Tables 1 to 10 of the paper of MIA-Net."""

from mcr_jax.papers.definition import Column, Row, Section, Source, Table
from mcr_jax.papers.systems import row, rows

SIGNS = (
  "The paper does not define Acc2 and F1: samples of label 0 are left out here, and F1 "
  "is weighted by true support."
)
QUOTED = (
  "Published rows but MIA-Net's are quoted from others, on features of their own."
)
EMOTIONS = ("neutral", "sadness", "anger", "joy", "surprise", "fear", "disgust")
WEIGHTED = "The weighted F1 of all seven emotions."


def sentiment(corpus: str, group: str = "") -> tuple[Column, ...]:
  """Acc7, Acc2, F1 and MAE."""
  shared = dict(corpus=corpus, group=group, decimals=2)
  return (
    Column("acc7", "Acc7", **shared),
    Column("acc2_non0", "Acc2", "acc2", **shared),
    Column("f1_non0", "F1", "f1", **shared),
    Column("mae", "MAE", scale=1.0, **shared),
  )


def weighted(corpus: str = "meld", group: str = "MELD", published: str = "") -> Column:
  """The weighted F1 of MELD."""
  return Column("weighted_f1", "w-F1", published, corpus, group, decimals=2)


def net(corpus: str, **more) -> Source:
  """MIA-Net on a corpus."""
  return Source(f"mia_net_{corpus}", "mia_net", corpus, **more)


def point(name: str, sweep: str, published: str, *corpora: str) -> Row:
  """A point of a sweep over MIA-Net as a row."""
  sources = {corpus: net(corpus, sweep=f"{sweep}/{name}") for corpus in corpora}
  return Row(published, sources)


def both_features(corpus: str) -> tuple[Row, ...]:
  """MIA-Net on either set of features."""
  cmu = Source(f"mia_net_{corpus}:f_cmu", "mia_net", corpus)
  return (
    Row("MIA-Net (F)", {corpus: net(corpus)}),
    Row("MIA-Net (F_cmu)", {corpus: cmu}, note="Text, COVAREP and Facet."),
  )


def comparison(table: str, corpus: str, systems: str, mib: str) -> Table:
  """Table 1 or 2; bars separate the systems, and `mib` is the variant of MIB."""
  variants = {"MIB": mib}
  own = (row(n, corpus, variant=variants.get(n, "")) for n in systems.split("|"))
  return Table(
    f"mia-net-{table.lower().replace(' ', '')}",
    "MIA-Net",
    table,
    f"Comparison on CMU-{corpus.upper()}",
    sentiment(corpus),
    (Section("", (*own, *both_features(corpus))),),
    (SIGNS, QUOTED),
  )


def features(corpus: str) -> Section:
  """A corpus of Table 6, as the sweep has it."""
  names = ("F", "F_cmu")
  sources = [net(corpus, sweep=f"mia_net_features/{name}") for name in names]
  found = (Row(n, {"test": s}) for n, s in zip(names, sources, strict=True))
  return Section(corpus.upper(), tuple(found), corpus)


def transfer(name: str, train: str, test: str, **more) -> Row:
  """Trained on one corpus; tested on another, or its last layer trained there."""
  tested = net(test, **more) if more else Source(data=test, tests="train")
  return Row(name, {"train": net(train), "test": tested})


HEAD = dict(after="train", overrides={"train.only": "head"})
# The columns of Table 10 by the number of modalities.
COSTS = tuple(
  Column(
    f"{count}/{metric}",
    title,
    f"{word}_modal_{published}",
    "counted",
    f"{word.title()} modalities",
    2,
    1.0,
    "lower",
    definition,
  )
  for count, word in ((3, "three"), (4, "four"))
  for metric, title, published, definition in (
    (
      "multiply_adds",
      "FLOPs (M)",
      "mflops",
      "Millions of multiply-adds of a prediction for one sample, which is what the "
      "paper calls FLOPs.",
    ),
    ("parameters", "Params (M)", "mparams", "Millions of parameters."),
  )
)
FUSION = ("TFN", "CIM", "MHA", "Transformer", "CT", "MIA-Net")


TABLES = (
  comparison(
    "Table 1",
    "mosi",
    "QMF|TCM-LSTM|MulT|MISA|CM-BERT|BBFN|MTSA|MMIM|HIS-MSA|MIB|SSL",
    "early",
  ),
  comparison(
    "Table 2",
    "mosei",
    "QMF|LMF|TCM-LSTM|Multi-modal Routing|MulT|MISA|MTSA|MIB|MMIM|HIS-MSA|BBFN",
    "late",
  ),
  Table(
    "mia-net-table3",
    "MIA-Net",
    "Table 3",
    "Comparison on MELD, F1 of each emotion",
    (
      *(
        Column(f"f1/{name}", name.title(), name, "meld", decimals=2)
        for name in EMOTIONS
      ),
      weighted(group=""),
    ),
    (
      Section(
        "",
        rows("DSAGCN|MM-DFN|DialogueRNN|A-DMN|CTNet|MIA-Net".split("|"), "meld"),
      ),
    ),
    (WEIGHTED, QUOTED),
  ),
  Table(
    "mia-net-table4",
    "MIA-Net",
    "Table 4",
    "One, two and three modalities on CMU-MOSI",
    sentiment("mosi"),
    (
      Section(
        "",
        tuple(
          point(name.replace("+", "_"), "mia_net_modalities", name, "mosi")
          for name in (
            *("audio", "video", "text"),
            *("text+audio", "text+video", "text+audio+video"),
          )
        ),
      ),
    ),
    (SIGNS,),
  ),
  Table(
    "mia-net-table5",
    "MIA-Net",
    "Table 5",
    "Transfer between corpora and tasks",
    (*sentiment("test"), weighted("test", "")),
    (
      Section(
        "",
        (
          transfer("MOSEI->MOSI", "mosei", "mosi"),
          transfer("MOSI->MOSEI", "mosi", "mosei"),
          transfer("MELD->MOSI", "meld", "mosi", **HEAD),
          transfer("MELD->MOSEI", "meld", "mosei", **HEAD),
          transfer("MOSEI->MELD", "mosei", "meld", **HEAD),
        ),
      ),
    ),
    (SIGNS, "Where the task changes, the last layer is trained on the second corpus."),
  ),
  Table(
    "mia-net-table6",
    "MIA-Net",
    "Table 6",
    "Two sets of features",
    sentiment("test"),
    tuple(features(corpus) for corpus in ("mosei", "mosi")),
    (SIGNS,),
  ),
  Table(
    "mia-net-table7",
    "MIA-Net",
    "Table 7",
    "Two, three and five modalities on CMU-MOSI",
    sentiment("mosi"),
    (
      Section(
        "",
        tuple(
          Row(
            f"{n} modalities",
            {"mosi": net("mosi", sweep=f"mia_net_number/modalities_{n}")},
            str(n),
          )
          for n in (2, 3, 5)
        ),
      ),
    ),
    (SIGNS, "Five are made: audio and vision once more through a connected layer."),
  ),
  Table(
    "mia-net-table8",
    "MIA-Net",
    "Table 8",
    "Main modality and order of the others",
    (*sentiment("mosei", "MOSEI"), weighted(published="meld_weighted_f1")),
    (
      Section(
        "",
        tuple(
          point(name.replace(",", "_"), "mia_net_order", name, "mosei", "meld")
          for name in (
            *("text,video,audio", "text,audio,video"),
            *("audio,video,text", "video,audio,text"),
          )
        ),
      ),
    ),
    (SIGNS,),
  ),
  Table(
    "mia-net-table9",
    "MIA-Net",
    "Table 9",
    "One modality alone",
    (*sentiment("mosei", "MOSEI"), weighted(published="meld_weighted_f1")),
    (
      Section(
        "",
        tuple(
          line
          for name in ("audio", "video", "text")
          for line in (
            point(name, "mia_net_unimodal", name, "mosei", "meld"),
            Row(f"{name} (cited)", {}),
          )
        ),
      ),
    ),
    (SIGNS, "Cited rows are those that the paper quotes from MISA and MM-DFN."),
  ),
  Table(
    "mia-net-table10",
    "MIA-Net",
    "Table 10",
    "Costs of fusion techniques",
    COSTS,
    (Section("", tuple(Row(n, {"counted": Source(counted=n)}) for n in FUSION)),),
    (
      "Nothing is trained: operations and parameters are counted on the programs, for "
      "vectors of 1024, 768, 256 and, as the fourth, 768 features.",
      "The printed 9011.20 and 1116.16 are 8.80 G and 1.09 G times 1024.",
    ),
  ),
)
