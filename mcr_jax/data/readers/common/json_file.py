"""JSON as people write data sets: one value, or a value a line."""

import json
import re

from mcr_jax.data import memory
from mcr_jax.data.readers.common import values

# What a value takes in memory for a byte of text.
EXPANSION = 16
BEGIN = re.compile(rb"\s*(\[\s*[\[{\"\d-]|\[\s*\]|\{\s*[\"}])")


def is_json(start: bytes) -> bool:
  """Whether a text begins as JSON does."""
  return BEGIN.match(start.removeprefix(b"\xef\xbb\xbf")) is not None


def described(data: bytes | bytearray, source: str) -> str:
  """What JSON that is no data set holds, in a few words; "" of a damaged one."""
  found = read(data, source)
  return "" if found is None else values.describe(found)


def read(data: bytes | bytearray, source: str) -> object:
  """What the text holds, of a value a line a list; None where it is no JSON.

  Args:
    data: the text in UTF-8.
    source: for messages.
  """
  memory.take(EXPANSION * len(data), source)
  try:
    text = data.decode("utf-8-sig")
  except UnicodeDecodeError:
    return None
  try:
    return json.loads(text)
  except (ValueError, RecursionError):
    pass
  try:
    return [json.loads(x) for x in text.splitlines() if x.strip()]
  except (ValueError, RecursionError):
    return None
