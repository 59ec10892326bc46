"""Columns of one number a sample, as the modalities that they belong to.

`audio_0` to `audio_9` are ten features of audio; the names of openSMILE and OpenFace
say audio and vision; other numbered columns keep the name before the number.
"""

import re
from collections.abc import Iterable

from mcr_jax.data.readers.common import rows

NUMBERED = re.compile(r"(.*?)[\s_.\-\[]*\d+\]?")
VISION = re.compile(
  r"AU\d\d_[rc]|gaze_.*|pose_[RT][xyz]|eye_lmk_.*|[xyzXYZ]_\d+|p_(scale|[rt][xyz]|\d+)"
)
AUDIO = re.compile(
  r"F0.*|.*_sma(3(nz)?)?(_.*|\[.*)?|pcm_.*|mfcc.*|loudness.*|jitter.*|shimmer.*|HNR.*"
)
# What trackers say of a frame beside its features, and how pandas calls row numbers.
ABOUT = ("faceid", "success", "confidence", "index", "unnamed0", "level0", "srno", "no")
REST = "features"


def of(names: Iterable[str]) -> dict[str, list[str]]:
  """Modality -> its columns; a column alone belongs to none.

  Args:
    names: of columns of numbers.
  """
  found: dict[str, list[str]] = {}
  for name in names:
    if group := _group(name):
      found.setdefault(group, []).append(name)
  # What is alone and has no number says something else, such as `has_text`.
  return {
    group: own
    for group, own in found.items()
    if len(own) > 1 or (rows.modality(group) and NUMBERED.fullmatch(own[0]))
  }


def _group(name) -> str:
  own = name.strip()
  if VISION.fullmatch(own):
    return "vision"
  numbered = NUMBERED.fullmatch(own)
  prefix = numbered[1].strip() if numbered else ""
  stem = prefix if numbered else own
  if len(stem) > 1 and (said := rows.modality(stem)):
    return said
  if AUDIO.fullmatch(own):
    return "audio"
  if numbered:
    # R numbers its columns V1, V2, ...; NumPy and pandas without any letter.
    return prefix if len(prefix) > 1 else REST
  return ""
