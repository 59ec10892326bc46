"""A model file is whole or refused, by one error, and never runs anything."""

import hashlib
import json
import os

import numpy as np
import pytest

from mcr_jax.errors import DamagedCheckpoint, McrJaxError, UserError
from mcr_jax.runs import model_file

FACTS = {"config": {"a": [1, 2.5, None, "ü \x1b"]}, "run": {"seeds": [0]}}
ARRAYS = {
  "params/kernel": np.arange(6, dtype=np.float32).reshape(2, 3),
  "params/~~": np.array([1, 2], np.int8),
  "normalization/clip": np.asarray(np.inf),
  "empty": np.zeros((0, 3), np.float32),
}


@pytest.fixture(scope="module")
def data():
  return model_file.to_bytes(FACTS, ARRAYS)


def parts(data):
  """(header, the bytes of all arrays but the digest)."""
  end = 8 + int.from_bytes(data[:8], "little")
  return json.loads(data[8:end]), data[end:-32]


def sealed(header, body, size=None):
  """A file with a digest that is right, whatever else it holds."""
  text = header if isinstance(header, bytes) else json.dumps(header).encode()
  text = text.replace(b'{"__metadata__": {"mcr_jax": "', model_file._START)
  size = len(text) if size is None else size
  data = size.to_bytes(8, "little") + text + body
  return data + hashlib.sha256(data).digest()


def saying(data, text):
  """The file with other JSON about its model."""
  header, body = parts(data)
  header["__metadata__"]["mcr_jax"] = text
  return sealed(header, body)


def test_what_is_written_is_read(tmp_path, data):
  path = tmp_path / "new" / "model.mcr"
  digest = model_file.write(path, FACTS, ARRAYS)
  assert path.read_bytes() == data
  assert digest == hashlib.sha256(data[:-32]).hexdigest() == data[-32:].hex()
  facts, arrays = model_file.read(path)
  assert facts == FACTS and arrays.keys() == ARRAYS.keys()
  for name, array in ARRAYS.items():
    assert arrays[name].dtype == array.dtype
    np.testing.assert_array_equal(arrays[name], array, strict=True)


def test_any_safetensors_tool_reads_it(tmp_path, data):
  from safetensors import safe_open

  (tmp_path / "model.mcr").write_bytes(data)
  with safe_open(tmp_path / "model.mcr", "np") as file:
    assert {*ARRAYS, model_file.DIGEST} == {*file.keys()}
    assert json.loads(file.metadata()["mcr_jax"])["config"] == FACTS["config"]


def test_no_bit_can_change_unnoticed(data, tmp_path):
  path = tmp_path / "model.mcr"
  random = np.random.default_rng(0)
  for place in range(len(data)):
    other = bytearray(data)
    other[place] ^= 1 << random.integers(8)
    with pytest.raises((DamagedCheckpoint, UserError)):
      model_file.from_bytes(bytes(other), "model.mcr")
    if place < 48:  # what is looked at before the digest
      path.write_bytes(other)
      with pytest.raises((DamagedCheckpoint, UserError), match=r"model\.mcr"):
        model_file.read(path)


def test_what_was_cut_off_or_added_is_counted(data):
  for count in (40, len(data) // 2, len(data) - 1):
    said = rf"it has {count:,} of "
    with pytest.raises(DamagedCheckpoint, match=said):
      model_file.from_bytes(data[:count], "x")
  with pytest.raises(DamagedCheckpoint, match=f"{len(data) - 1:,} of {len(data):,} "):
    model_file.from_bytes(data[:-1], "x")
  with pytest.raises(DamagedCheckpoint, match="3 bytes follow its end"):
    model_file.from_bytes(data + b"\0\0\0", "x")


@pytest.mark.parametrize("start", [b"", b"PK\3\4", b"\x80\4.", bytes(100)])
def test_another_file_is_told(tmp_path, start):
  (tmp_path / "x").write_bytes(start)
  with pytest.raises(UserError, match="x is not a model file: it begins with"):
    model_file.read(tmp_path / "x")


def test_a_later_format_is_told(data):
  later = saying(data, json.dumps(FACTS | {"format": 2, "more": {}}))
  with pytest.raises(UserError, match=r"later mcr_jax \(format 2\).*up to 1"):
    model_file.from_bytes(later, "x")


@pytest.mark.parametrize(
  "text, said",
  [
    ("", "JSONDecodeError"),
    ("[" * 100_000, "RecursionError"),
    ("[]", "is no object"),
    ("{}", "format"),
    ('{"format": true}', "format True"),
    ('{"format": 0}', "format 0"),
    ('{"format": 1, "a": 1, "a": 2}', "'a' is there twice"),
    ('{"format": 1, "a": NaN}', "NaN is not JSON"),
    ('{"format": 1, "a": 1e999}', "ValueError"),
    ('{"format": 1, "a": "\\ud800"}', "surrogates not allowed"),
    ('{"format": 1, "a": ' + "9" * 5000 + "}", "ValueError"),
  ],
)
def test_facts_that_are_none_are_refused_though_the_digest_is_right(data, text, said):
  with pytest.raises(UserError, match=said):
    model_file.from_bytes(saying(data, text), "x")


def test_headers_that_lie_are_refused_though_the_digest_is_right(data):
  header, body = parts(data)

  def refused(said, header, body=body, size=None):
    with pytest.raises(UserError, match=said):
      model_file.from_bytes(sealed(header, body, size), "x")

  kernel = header["params/kernel"]
  refused("a header of 1,000,000,000,000,000,000 bytes", header, size=10**18)
  refused("no readable model", header, size=len(json.dumps(header)) + 8)
  twice = json.dumps(header)[:-1] + f', "params/kernel": {json.dumps(kernel)}}}'
  refused("'params/kernel' is there twice", twice.encode())
  for change in (
    {"shape": [10**9, 10**9]},
    {"shape": [2**63, 2]},
    {"shape": [-1, 6]},
    {"shape": "2 x 3"},
    {"data_offsets": [0, 10**18]},
    {"data_offsets": [-8, 16]},
    {"data_offsets": [16, 8]},
    {"dtype": "object"},
    {"dtype": "BF16", "shape": [2, 6]},
  ):
    refused("no readable model", header | {"params/kernel": kernel | change})
  refused("no readable model", {k: x for k, x in header.items() if k != "empty"}, b"")
  missing = {k: x for k, x in header.items() if k != model_file.DIGEST}
  refused("no readable model", missing)


def test_a_file_that_is_there_stays_unless_asked(tmp_path, monkeypatch):
  path = tmp_path / "model.mcr"
  path.write_bytes(b"mine")
  with pytest.raises(UserError, match=r"model\.mcr exists already; --overwrite"):
    model_file.write(path, FACTS, ARRAYS)

  def full(*_):
    raise OSError(28, "No space left on device")

  with monkeypatch.context() as patch:
    patch.setattr(os, "replace", full)
    with pytest.raises(OSError):
      model_file.write(path, FACTS, ARRAYS, overwrite=True)
  assert [x.read_bytes() for x in tmp_path.iterdir()] == [b"mine"]
  model_file.write(path, FACTS, ARRAYS, overwrite=True)
  assert model_file.read(path).facts == FACTS


def test_whatever_is_sealed_gives_a_model_or_one_error(data):
  """Bytes of the header change at random, and the digest is made right again."""
  random = np.random.default_rng(1)
  header, body = parts(data)
  text = json.dumps(header).encode()
  for _ in range(300):
    other = bytearray(text)
    for place in random.integers(40, len(text), 2):
      other[place] = random.integers(32, 127)
    try:
      model_file.from_bytes(sealed(bytes(other), body), "x")
    except McrJaxError as error:
      assert str(error).startswith("x ")
