"""The runs behind Figures 2 to 4 of the paper of MIA-Net."""

from mcr_jax.papers.definition import Column, Row, Section, Source, Table
from mcr_jax.papers.mia_net import FUSION, SIGNS, WEIGHTED, point, sentiment, weighted


def fused(name: str) -> Source:
  """MIA-Net on MELD with another fusion in its place."""
  model = name.lower().replace("-", "_")
  own = {} if model == "mia_net" else {"model": {"name": model}}
  # With 1024 features, which are the default, CT's states take 4 GB a seed; TFN's
  # product of three vectors of 64 makes 35 million parameters.
  width = {"TFN": 16, "MIA-Net": 0}.get(name, 32)
  small = {"model.width": width} if width else {}
  return Source("mia_net_meld", model, "meld", own, small)


TABLES = (
  Table(
    "mia-net-figure2",
    "MIA-Net",
    "Figure 2",
    "MIA-Net by the weight of its kernel regularisation",
    (*sentiment("mosi", "MOSI"), weighted()),
    (
      Section(
        "",
        tuple(
          point(f"gamma_0.{n}", "mia_net_gamma", f"gamma 0.{n}", "mosi", "meld")
          for n in range(1, 7)
        ),
      ),
    ),
    (SIGNS, "The paper prints no numbers; 0.3 is best there."),
  ),
  Table(
    "mia-net-figure3",
    "MIA-Net",
    "Figure 3",
    "MIA-Net with and without its joint loss, by epoch",
    sentiment("mosi"),
    (
      Section(
        "",
        (
          point("gamma_0.3", "mia_net_gamma", "with joint loss", "mosi"),
          point("gamma_0.0", "mia_net_gamma", "without joint loss", "mosi"),
        ),
      ),
    ),
    (SIGNS,),
  ),
  Table(
    "mia-net-figure4",
    "MIA-Net",
    "Figure 4",
    "Fusion techniques on MELD",
    (Column("accuracy", "Acc", corpus="meld", decimals=2), weighted(group="")),
    (Section("", tuple(Row(name, {"meld": fused(name)}) for name in FUSION)),),
    (WEIGHTED, "Around the fusion everything is that of MIA-Net."),
  ),
)
