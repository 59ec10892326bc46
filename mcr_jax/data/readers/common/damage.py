"""What became of binary files that were copied, saved or fetched in a wrong way."""

import mmap

CRLF_LINES, REPLACED = 20, "\ufffd".encode()
LOOKED_AT = 1 << 20


def of(data: bytes | mmap.mmap) -> str:
  """A sentence on the damage that the bytes of a file show; "" where they show none."""
  some = bytes(data[:LOOKED_AT])
  lines = some.count(b"\n")
  # In binary data a newline rarely follows a carriage return.
  if lines >= CRLF_LINES and some.count(b"\r\n") == lines:
    return (
      "Every end of a line in it is \\r\\n: it was copied as if it were text. Copy it "
      "again as binary."
    )
  if some.count(REPLACED) > len(some) // 50:
    return (
      "Bytes of it were replaced by U+FFFD: it was saved as if it were text. Download "
      "it again as binary."
    )
  if some and not some.strip(b"\0"):
    return "It begins with nothing but zeros: the download was not filled. Repeat it."
  return ""
