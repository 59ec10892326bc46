"""The allocator's settings, each in a process of its own."""

import os
import platform
import shutil
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(
  platform.libc_ver()[0] != "glibc", reason="the allocator is glibc's"
)


def program(body, **environment):
  body = f"from mcr_jax import allocator\n{body}"
  done = subprocess.run(
    [sys.executable, "-c", body],
    capture_output=True,
    text=True,
    check=True,
    env=os.environ | environment,
  )
  return done.stdout.split()


def test_nothing_is_retired_where_freed_memory_is_not_kept():
  assert program("print(allocator.release_fragments())") == ["0"]


def test_retired_fragments_are_never_searched_again():
  """And what was never used, or was not in pieces, still serves."""
  body = """import ctypes
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
print(allocator.keep_freed_memory())
hole = libc.malloc(1_500_000_000)
held = [libc.malloc(20_000) for _ in range(6000)]
libc.free(hole)
end = held[-1]
for piece in held[::2]:
  libc.free(piece)
inside = libc.malloc(20_000)
print(inside < end)
print(allocator.release_fragments() >= 2900)
print(libc.malloc(20_000) > end)
large = libc.malloc(200_000_000)
libc.free(large)
print(libc.malloc(200_000_000) == large)
print(allocator.release_fragments() < 500)
"""
  assert program(body) == ["True"] * 6


def test_another_librarys_malloc_is_left_alone(tmp_path):
  """One that was loaded before glibc, as jemalloc may be."""
  compiler = shutil.which("cc")
  if not compiler:
    pytest.skip("needs a C compiler")
  source, library = tmp_path / "other.c", tmp_path / "other.so"
  source.write_text(
    "#include <stddef.h>\nextern void *__libc_malloc(size_t);\n"
    "void *malloc(size_t size) { return __libc_malloc(size); }\n"
  )
  subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
  body = "print(allocator.keep_freed_memory(), allocator.release_fragments())"
  assert program(body, LD_PRELOAD=str(library)) == ["False", "0"]
