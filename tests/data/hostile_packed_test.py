"""Attack files for the readers of packed files, tensors, objects and tuples.

Nothing of them runs, and none takes more than its bound, in a child process with a
limit of memory and of time.
"""

import pytest

from tests.data import packed_attacks
from tests.data.hostile_test import BOUND_MIB, OURS, run, written


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  return tmp_path_factory.mktemp("packed")


@pytest.mark.slow
def test_packed_code_does_not_run_and_bombs_stay_within_their_bound(folder):
  code = packed_attacks.code_attacks(folder)
  bombs = packed_attacks.memory_attacks()
  paths = written(folder, [*code, *bombs])
  before = sorted(folder.iterdir())
  answers = run(folder, OURS, paths, 60)
  assert sorted(folder.iterdir()) == before, "a file was written"
  assert len(answers) == len(paths), "the reader died, or did not end"
  for attack, path in zip([*code, *bombs], paths, strict=True):
    answer, peak = answers[str(path)]
    assert answer not in ("loaded", "secret"), attack.name
    if attack.kind == "code":
      assert "refused: posix.system" in answer, (attack.name, answer)
    assert "does not fit" not in answer, (attack.name, answer)
    assert peak < BOUND_MIB, (attack.name, peak)
