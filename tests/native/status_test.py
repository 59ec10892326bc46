"""Why the kernels are not there, when they are not."""

import hashlib
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mcr_jax import cli, native
from mcr_jax.errors import UserError
from mcr_jax.ops.attention import attend

LIBRARY = sorted(native.FOLDER.glob(f"{native.LIBRARY}*.so"))


@pytest.fixture
def folder(tmp_path, monkeypatch):
  """Where the library is looked for, instead of in the package."""
  monkeypatch.setattr(native, "FOLDER", tmp_path)
  forget()
  yield tmp_path
  monkeypatch.undo()
  forget()


def forget():
  native._loaded.cache_clear()
  native._registered.cache_clear()


def test_without_a_library_the_reason_is_the_compiler(folder):
  assert not native.status().available
  assert str(native.status()).startswith("no (it was not built")
  assert native.instructions() == ()


def test_a_file_that_is_no_library_is_not_loaded(folder):
  (folder / "_kernels.abi3.so").write_bytes(b"no library")
  assert "damaged" in native.status().why


def test_a_library_for_another_system_is_not_loaded(folder):
  strange = b"\x7fELF" + bytes(range(200))
  whole = strange + hashlib.sha256(strange).digest()
  (folder / "_kernels.abi3.so").write_bytes(whole)
  assert "for another system" in native.status().why


@pytest.mark.skipif(not LIBRARY, reason="the library was not built")
def test_half_of_a_library_is_not_loaded(folder):
  whole = LIBRARY[0].read_bytes()
  (folder / LIBRARY[0].name).write_bytes(whole[: len(whole) // 2])
  assert "damaged" in native.status().why


@pytest.mark.skipif(not LIBRARY, reason="the library was not built")
def test_a_library_for_another_jaxlib_is_not_used(folder, monkeypatch):
  shutil.copy(LIBRARY[0], folder)

  def refuse(*_, **__):
    raise ValueError("unsupported API version\nand more")

  monkeypatch.setattr(jax.ffi, "register_ffi_target", refuse)
  assert native.status().why.endswith("another jaxlib (unsupported API version)")


def test_what_cannot_be_used_is_told_and_auto_goes_on(folder, capsys):
  x = jnp.ones((1, 2, 1, 4))
  attend(x, x, x, scale=1.0, implementation="auto")
  cli.prepare()
  assert capsys.readouterr().err == ""  # it need not be there
  (folder / "_kernels.abi3.so").write_bytes(b"no library")
  forget()
  cli.prepare()
  said = capsys.readouterr().err
  assert said.count("\n") == 1 and "kernels" in said and "damaged" in said
  found = attend(x, x, x, scale=1.0, implementation="auto")
  np.testing.assert_allclose(found, x)


def test_asking_for_what_is_not_there_is_the_users_mistake(folder):
  x = jnp.ones((1, 2, 1, 4))
  with pytest.raises(UserError, match="'native'.*Use 'auto'"):
    attend(x, x, x, scale=1.0, implementation="native")
  with pytest.raises(UserError, match="avx2"):
    native.use("avx2")


@pytest.mark.skipif(len(native.instructions()) < 2, reason="needs two instruction sets")
def test_a_run_that_is_resumed_holds_its_instruction_set_or_its_want_of_one():
  best, other = native.instructions()[:2]
  try:
    native.hold(other, "runs/x")
    assert native.status().instructions == other
    native.hold("no (it was not built)", "runs/x")
    assert not native.status().available
  finally:
    native.use(None)
  assert native.status().instructions == best
