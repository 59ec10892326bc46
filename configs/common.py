"""What the config files share: choosing a variant, and the quick one."""

from collections.abc import Callable

import ml_collections as mlc


def finish(config: mlc.ConfigDict, arg: str, **variants: Callable) -> mlc.ConfigDict:
  """The config after the variants that `arg` names (`quick`, or `a,b`), in order.

  Args:
    config: what a config file has set.
    arg: what stands after the colon of `--config configs/X.py:arg`.
    **variants: functions that change a config in place; `quick` is always there.
  """
  variants = {"quick": quick, **variants}
  for name in filter(None, arg.split(",")):
    if name not in variants:
      raise ValueError(f"no variant is named {name!r}; known: {', '.join(variants)}")
    variants[name](config)
  return config


def quick(config: mlc.ConfigDict) -> None:
  """The small version on synthetic data: same model and task, minutes to seconds."""
  lengths = config.get("data", {}).get("lengths", {}).values()
  # A corpus whose modalities are as long as each other is aligned.
  align = "text" if lengths and len({*lengths}) == 1 else ""
  set_fields(config, "data", path="synthetic", align=align, modalities=(), lengths={})
  set_fields(config, "train", epochs=2, batch_size=32)
  if phases := config.train.get("phases", ()):
    short = tuple({**phase, "epochs": 1} for phase in phases)
    set_fields(config, "train", phases=short, epochs=max(2, len(short)))
  config.seeds = (0, 1)


def set_fields(config: mlc.ConfigDict, group: str, **values) -> None:
  """Sets fields of a group, which the config file need not have mentioned."""
  if group not in config:
    config[group] = mlc.ConfigDict()
  for name, value in values.items():
    # A dict is replaced, not merged with what the file had.
    if name in config[group]:
      del config[group][name]
    config[group][name] = value
