"""Attacks on the readers of packed files, of tensors, of objects and of tuples.

As in `attacks`: small files that would take much memory or time, or run code.
"""

import gzip
import io
import pathlib
import pickle  # only to write
import zipfile

import numpy as np

from tests.data import attacks
from tests.data.attacks import Attack
from tests.data.identify_test import tensor

MIB = 1 << 20


def zipped(members, method=zipfile.ZIP_DEFLATED) -> bytes:
  file = io.BytesIO()
  with zipfile.ZipFile(file, "w", method) as archive:
    for name, data in members.items():
      archive.writestr(name, data)
  return file.getvalue()


def torch(content, storages, method=zipfile.ZIP_STORED) -> bytes:
  data = attacks.whole(attacks.value(content, 2), 2)
  members = {f"x/data/{key}": raw for key, raw in storages.items()}
  return zipped({"x/data.pkl": data, "x/version": "3"} | members, method)


def objects(body: bytes) -> bytes:
  file = io.BytesIO()
  header = {"descr": "|O", "fortran_order": False, "shape": ()}
  np.lib.format.write_array_header_1_0(file, header)
  return file.getvalue() + body


def code_attacks(folder: pathlib.Path) -> list[Attack]:
  """One call in everything that holds a pickle; each has a canary of its own."""
  found = []
  for number in range(6):
    canary = folder / f"packed_canary{number}"
    call = attacks.call("posix", "system", [f"touch {canary}"], 2)
    body = attacks.whole(call, 2)
    good = pickle.dumps({"lr": 0.1})
    made = [
      gzip.compress(body),
      zipped({"data.pkl": body}),
      torch({"text": call}, {"0": b""}),
      objects(body),
      zipped({"train.npy": objects(body), "test.npy": objects(body)}),
      good + body,
    ]
    found.append(Attack(f"code {number}", "code", made[number]))
  return found


def memory_attacks() -> list[Attack]:
  """Small files that would take hundreds of MB and more."""
  zeros = gzip.compress(bytes(16 * MIB))
  ones = np.ones(MIB // 4, "f4")
  row = ((np.array(["w"]), np.ones((1, 2)), np.ones((1, 2))), 0.5, "v[0]")
  table = [0] * 2000
  talk = {k: table for k in range(20_000)}
  vectors = {k: [[0.5, 0.25]] for k in range(20_000)}
  keys = list(range(20_000))
  long = "x" * MIB
  texts = np.empty(500, object)
  texts[:] = [long] * 500
  npz = io.BytesIO()
  np.savez(npz, id=texts, text=np.ones((500, 2)))
  views = [tensor("0", ones, "FloatStorage") for _ in range(2000)]
  expanded = tensor("0", np.ones(1 << 18, "f4"), "FloatStorage", (0,))
  return [
    Attack("gzip of zeros", "memory", zeros * 20),
    Attack("gzip of gzip of zeros", "memory", gzip.compress(zeros * 30)),
    Attack("zip of a pickle of zeros", "memory", zipped({"a.pkl": bytes(96 * MIB)})),
    Attack(
      "npz in a zip", "memory", zipped({"a.npz": zipped({"id.npy": bytes(320 * MIB)})})
    ),
    Attack(
      "compressed storage",
      "memory",
      torch(
        {"text": tensor("0", np.ones(2, "f4"), "FloatStorage")},
        {"0": bytes(64 * MIB)},
        zipfile.ZIP_DEFLATED,
      ),
    ),
    Attack("a storage, many tensors", "memory", torch(views, {"0": ones.tobytes()})),
    Attack(
      "a tensor that repeats", "memory", torch({"text": expanded}, {"0": b"abcd"})
    ),
    Attack("many dumps", "memory", pickle.dumps([0.5] * 10) * 100_000),
    Attack("one segment", "memory", pickle.dumps([row] * 100_000)),
    Attack(
      "one dialogue",
      "memory",
      pickle.dumps((talk, talk, vectors, {k: ["a"] for k in keys}, keys[:9], keys[9:])),
    ),
    Attack("one long name", "memory", npz.getvalue()),
  ]
