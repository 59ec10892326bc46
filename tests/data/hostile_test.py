"""Attack files: the readers refuse them all, and elsewhere they do what they threaten.

Each is opened in a child process with a memory limit. The same files are opened with
what users would have opened them with otherwise, where their canaries must appear.
"""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from tests.data import attacks

ROOT = pathlib.Path(__file__).resolve().parents[2]
# What a file of some MB may cost here, and what the attacks cost elsewhere.
BOUND_MIB, EXCESS_MIB = 300, 500
LIMIT = 3 << 30

OURS = """
from mcr_jax.data import readers
from mcr_jax.errors import UserError
def attempt(path):
  try:
    data = readers.read(path)
  except UserError as error:
    return str(error)
  values = [x.values for x in data.modalities.values()]
  return "secret" if any((v == 42).any() for v in values) else "loaded"
"""
# What NumPy, h5py and pickle do when they are asked for everything.
PLAIN = """
import pickle, numpy as np, h5py
def attempt(path):
  start = open(path, "rb").read(8)
  try:
    if start[:2] == b"PK":
      with np.load(path, allow_pickle=True) as file:
        for key in file: file[key]
    elif start[1:4] == b"HDF":
      with h5py.File(path) as file:
        held = [x["features"][()] for x in file["COVAREP/data"].values()]
        return "secret" if any((x == 42).any() for x in held) else "loaded"
    else:
      pickle.load(open(path, "rb"), encoding="latin1")
  except MemoryError:
    return "MemoryError"
  except BaseException as error:
    return type(error).__name__
  return "loaded"
"""
CHILD = """
import json, os, resource, sys
resource.setrlimit(resource.RLIMIT_AS, (MOST, MOST))
def memory(which):
  line = next(x for x in open("/proc/self/status") if x.startswith(which))
  return int(line.split()[1]) >> 10
out = os.dup(1)
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
for path in sys.argv[1:]:
  open("/proc/self/clear_refs", "w").write("5")  # The peak starts anew.
  base = memory("VmRSS")
  answer = attempt(path)
  line = json.dumps([path, answer, memory("VmHWM") - base])
  os.write(out, (line + "\\n").encode())
"""


def run(folder, opener, files, timeout=240):
  """path -> (answer, peak in MiB); a file at which the child died is absent."""
  environment = {
    "PATH": os.environ["PATH"],
    "PYTHONPATH": str(ROOT),
    "OPENBLAS_NUM_THREADS": "1",
    "HOME": str(folder),
  }
  script = opener + CHILD.replace("MOST", str(LIMIT))
  child = subprocess.Popen(
    [sys.executable, "-B", "-W", "ignore", "-c", script, *map(str, files)],
    stdout=subprocess.PIPE,
    stderr=subprocess.DEVNULL,
    cwd=folder,
    env=environment,
  )
  try:
    output, _ = child.communicate(timeout=timeout)
  except subprocess.TimeoutExpired:
    child.kill()
    output, _ = child.communicate()
  lines = [json.loads(line) for line in output.decode().splitlines()]
  return {path: (answer, peak) for path, answer, peak in lines}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  return tmp_path_factory.mktemp("attacks")


def written(folder, found):
  paths = []
  for index, attack in enumerate(found):
    paths.append(folder / f"{attack.kind}{index}")
    paths[-1].write_bytes(attack.data)
  return paths


def test_no_pickle_runs_code_here_and_all_do_elsewhere(folder):
  found = attacks.code_attacks(folder)
  paths = written(folder, found)
  before = sorted(folder.iterdir())
  answers = run(folder, OURS, paths)
  assert sorted(folder.iterdir()) == before, "a file was written"
  assert len(answers) == len(found), "the reader died"
  for attack, path in zip(found, paths, strict=True):
    assert "refused" in answers[str(path)][0], (attack.name, answers[str(path)])

  assert len(run(folder, PLAIN, paths)) == len(found)
  fired = [os.path.lexists(folder / f"canary{i}") for i in range(len(found))]
  silent = [a.name for a, hit in zip(found, fired, strict=True) if not hit]
  print(f"\n{len(found)} files with code: 0 ran here, {sum(fired)} under plain loading")
  # Names that only other versions of Python or NumPy have.
  assert len(silent) <= 0.05 * len(found), silent


def test_bombs_stay_within_their_bound(folder):
  bombs = [*attacks.memory_attacks(), *attacks.npz_attacks()]
  bombs += [x for x in attacks.hdf5_attacks(folder) if x.kind == "memory"]
  later = attacks.laughing_attacks()
  paths = written(folder, [*bombs, *later])
  answers = run(folder, OURS, paths)
  assert len(answers) == len(paths), "the reader died"
  for attack, path in zip([*bombs, *later], paths, strict=True):
    answer, peak = answers[str(path)]
    assert answer not in ("loaded", "secret"), attack.name
    assert "does not fit" not in answer, (attack.name, answer)
    assert peak < BOUND_MIB, (attack.name, peak)

  plain = run(folder, PLAIN, paths[: len(bombs)])
  for attack, path in zip(bombs, paths, strict=False):
    answer, peak = plain[str(path)]
    if (attack.name, answer) == ("overlapping members", "BadZipFile"):
      continue  # Python 3.13 looks for them itself
    assert answer == "MemoryError" or peak > EXCESS_MIB, (attack.name, answer, peak)
  worst = max(peak for _, peak in answers.values())
  print(
    f"\n{len(paths)} bombs: at most {worst} MiB here; plain loading takes more than "
    f"{EXCESS_MIB} MiB or fails for the {len(bombs)} that need no further step"
  )


def test_keys_that_hash_forever_are_refused_at_once(folder):
  found = attacks.time_attacks()
  paths = written(folder, found)
  answers = run(folder, OURS, paths)
  assert ["refused" in answers[str(path)][0] for path in paths] == [True] * len(found)
  stuck = [not run(folder, PLAIN, [path], 2) for path in paths]
  print(f"\n{len(found)} keys: refused here; {sum(stuck)} hang or crash plain loading")
  assert all(stuck)


def test_hdf5_cannot_reach_out_of_its_file(folder):
  found = [x for x in attacks.hdf5_attacks(folder) if x.kind == "reach"]
  paths = written(folder, found)
  ours, plain = run(folder, OURS, paths), run(folder, PLAIN, paths)
  for attack, path in zip(found, paths, strict=True):
    assert "refused" in ours[str(path)][0], (attack.name, ours[str(path)])
    assert plain[str(path)][0] == "secret", attack.name
  print(f"\n{len(found)} HDF5 files that reach out: refused here, read by plain h5py")
