"""Figures of what a model looked at and how a run went; nothing is shown.

Each function returns a Matplotlib figure (the extra `viz`): `visualize.save(figure,
path)`, or `figure.savefig(path)`. They are as wide as a column or a page of a paper,
and their type is to be read at that size.
"""

from mcr_jax.visualize.bars import alpha, costs, scores
from mcr_jax.visualize.canvas import COLORS, check_name, save
from mcr_jax.visualize.heat import Panel, attention, attention_maps, confusion
from mcr_jax.visualize.lines import curves, depth

__all__ = [
  "COLORS",
  "Panel",
  "alpha",
  "attention",
  "attention_maps",
  "check_name",
  "confusion",
  "costs",
  "curves",
  "depth",
  "save",
  "scores",
]
