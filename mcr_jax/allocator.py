"""What glibc's allocator does with freed memory, which decides how fast a CPU trains.

XLA asks for the temporary memory of a program at every call, and its libraries for
many small buffers during it. Other C libraries are left as they are. Importing this
changes nothing; programs call it, see `cli.prepare`. And how much the system lets a
process address.
"""

import contextlib
import ctypes

# Fragments below this size are what short lists and thread caches serve.
LEAST = 1 << 13
LARGEST = 1 << 32
# From one size of fragment to the next smaller; what is left of a piece fits the next.
SHRINK = 1.3

_kept = False


def keep_freed_memory() -> bool:
  """Makes glibc keep freed memory; whether it is glibc and did.

  XLA frees its temporary buffer after every call. Returned to the system, it is
  faulted in page by page at the next one, which costs a CPU a third of its time.
  """
  global _kept
  arena_max, mmap_max, trim_threshold = -8, -4, -1  # malloc.h
  if _is_glibc():
    settings = {arena_max: 1, mmap_max: 0, trim_threshold: -1}
    libc = ctypes.CDLL(None)
    _kept = all(libc.mallopt(name, value) for name, value in settings.items())
  return _kept


def release_fragments() -> int:
  """Takes small pieces of freed memory out of circulation; how many it took.

  Compiling leaves ten thousand holes between what stays. In the one arena that keeps
  freed memory, every buffer of a step is then searched among them, and the step takes
  twice its time. Their pages go back to the system first: what is lost is addresses.
  Does nothing where freed memory is not kept.
  """
  if not _kept:
    return 0
  libc = ctypes.CDLL(None)
  libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
  libc.free.argtypes = [ctypes.c_void_p]
  libc.sbrk.restype, libc.sbrk.argtypes = ctypes.c_void_p, [ctypes.c_ssize_t]
  give_back()
  unused = libc.sbrk(0)  # where the heap ends: all beyond is new
  count, size = 0, LARGEST
  while size >= LEAST:
    piece = libc.malloc(size)
    if piece and piece < unused:
      count += 1  # and never freed
      continue
    libc.free(piece)
    size = int(size / SHRINK)
  give_back()
  return count


def _is_glibc() -> bool:
  """Whether it is glibc that allocates: not musl, nor a library loaded before it."""
  with contextlib.suppress(OSError, AttributeError, ValueError):
    used, own = ctypes.CDLL(None), ctypes.CDLL("libc.so.6")
    _ = used.mallopt, used.gnu_get_libc_version
    place = lambda library: ctypes.cast(library.malloc, ctypes.c_void_p).value
    return place(used) == place(own)
  return False


def give_back() -> None:
  """Returns freed memory to the system, where the allocator was told to keep it."""
  with contextlib.suppress(OSError, AttributeError):
    ctypes.CDLL(None).malloc_trim(0)


def address_limit() -> int | None:
  """The limit of this process on addresses, where it has one."""
  try:
    import resource
  except ImportError:  # not a POSIX system
    return None
  limit = resource.getrlimit(resource.RLIMIT_AS)[0]
  return None if limit == resource.RLIM_INFINITY else limit
