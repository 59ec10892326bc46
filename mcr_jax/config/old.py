"""The config and the parameters of a run that an earlier version left in its workdir.

Format 1, of version 0.1.0, named the synthetic data by `data.name` and `data.aligned`,
had MCR's switches as "on" and "off", and a `loss.gamma` in every model. Without SCU,
MCR had gates on joined sources, which nothing read. Up to 0.2.0 CIM read no modality by
itself.
"""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from mcr_jax.config.completion import complete, defaults
from mcr_jax.config.plain import from_json, plain
from mcr_jax.errors import UserError

FORMAT = 2  # of a workdir, in its run.json, where 0.1.0 wrote none


def saved(text: str, facts: Mapping[str, Any]) -> ConfigDict:
  """The locked config of a run, in the fields of this version.

  Args:
    text: of its config.json.
    facts: of its run.json.

  Raises:
    UserError: it is none, or of a later version.
  """
  values = plain(from_json(text))
  if values["model"].get("name") == "cim":
    values["model"] = {"unimodal": False, **values["model"]}
  number = facts.get("format") or 1
  if number > FORMAT:
    raise UserError(
      f"The run is of a later mcr_jax, {_version(facts)} (format {number}); this one "
      f"reads formats up to {FORMAT}."
    )
  return complete(_of_format_1(values) if number == 1 else values)


def parameters(
  params: Mapping[str, Any], config: ConfigDict, facts: Mapping[str, Any]
) -> Mapping[str, Any]:
  """Those of the saved parameters that the model of this version has, too.

  Args:
    params: the tree of a checkpoint.
    config: of its run, see `saved`.
    facts: of its run.json.
  """
  gated = (facts.get("format") or 1) == 1 and config.model.name == "mcr"
  if not gated or config.model.scu or "layers" not in params:
    return params
  layers = {k: v for k, v in params["layers"].items() if not k.startswith("join_")}
  return {**params, "layers": layers}


def check_unfinished(workdir: Any, facts: Mapping[str, Any]) -> None:
  """Raises UserError where only another version can go on with a run."""
  number = facts.get("format") or 1
  if number != FORMAT:
    raise UserError(
      f"{workdir} holds an unfinished run of mcr_jax {_version(facts)} (format "
      f"{number}), and this one writes format {FORMAT}: go on with that version, or "
      "train anew in another --workdir."
    )


def _version(facts: Mapping[str, Any]) -> str:
  return facts.get("versions", {}).get("mcr_jax", "of unknown version")


def _of_format_1(values: Mapping[str, Any]) -> dict[str, Any]:
  model, loss, data = (dict(values[group]) for group in ("model", "loss", "data"))
  name, aligned = data.pop("name"), data.pop("aligned")
  if not data["path"] and name == "synthetic":
    data |= {"path": "synthetic", "align": "text" if aligned else ""}
  known = defaults(model)
  for field, value in model.items():
    if isinstance(known["model"].get(field), bool):
      model[field] = {"on": True, "off": False}.get(value, value)
  if not known["loss"]["gamma"]:
    loss["gamma"] = 0.0
  return {**values, "data": data, "model": model, "loss": loss}
