"""What fusing one more modality costs: the efficiency table of MIA-Net's paper.

Costs are counted on the programs (`flops`); nothing is trained or timed.
"""

from typing import Any

import jax

from mcr_jax import flops, models
from mcr_jax.contract import Spec
from mcr_jax.papers import published

AUDIO, VIDEO = 768, 256
# Widths of the modalities; the paper does not say what its fourth one is.
CASES = {
  "2": (1024, AUDIO),
  "3": (1024, AUDIO, VIDEO),
  "4": (1024, AUDIO, VIDEO, AUDIO),
  "4v": (1024, AUDIO, VIDEO, VIDEO),
  "6": (1024, *(AUDIO, VIDEO) * 2, AUDIO),
  "8": (1024, *(AUDIO, VIDEO) * 3, AUDIO),
}
# A label, the model behind it, and its fields; "all pairs" is how MulT grows.
METHODS = {
  "concat": ("concat", {}),
  "LMF": ("lmf", {}),
  "TFN": ("tfn", {}),
  "CIM": ("cim", {"pairs": "main", "unimodal": False}),
  "CIM all pairs": ("cim", {"pairs": "all", "unimodal": False}),
  "MHA": ("mha", {}),
  "Transformer": ("transformer", {}),
  "CT": ("ct", {}),
  "CT all pairs": ("ct", {"pairs": "all"}),
  "MIA-Net": ("mia_net", {}),
}
WORDS = {"3": "three_modal", "4": "four_modal"}


def build(method: str, case: str, size: int, **fields: Any) -> tuple:
  """A model, and the shapes of its variables and of a batch.

  Args:
    method: of `METHODS`.
    case: of `CASES`.
    size: samples of the batch.
    **fields: of MIA-Net.
  """
  name, own = METHODS[method]
  names = tuple(f"m{i}" for i in range(len(CASES[case])))
  fields = fields if name == "mia_net" else {}
  spec = Spec(dict.fromkeys(names, 1), dict(zip(names, CASES[case], strict=True)))
  model, batch = models.build(name, spec, **own, **fields), spec.example(size)
  return model, jax.eval_shape(model.init, jax.random.key(0), batch), batch


def costs(method: str) -> dict[str, float]:
  """Millions of multiply-adds and of parameters, as `3/parameters`, of a method."""
  found = {}
  for case in WORDS:
    model, variables, batch = build(method, case, 1, implementation="stored")
    counts = flops.count_model(model, variables, batch)
    found[f"{case}/multiply_adds"] = counts.multiply_adds / 1e6
    found[f"{case}/parameters"] = flops.parameters(variables["params"]) / 1e6
  return found


def printed() -> dict[str, dict[str, tuple[float, float]]]:
  """Method -> case -> millions of multiply-adds and parameters, as published.

  CIM's are those of pairs with the main modality.
  """
  rows = published.rows("MIA-Net", "Table 10", "")
  return {
    name: {
      case: (row[f"{word}_mflops"], row[f"{word}_mparams"])
      for case, word in WORDS.items()
    }
    for name, row in rows.items()
  }
