"""What a program launches on a GPU is counted in its text, on any machine."""

import importlib.metadata
import pathlib
import subprocess
import sys
import types

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.gpu import launches  # noqa: E402
from mcr_jax.training.programs import compiler_options  # noqa: E402

TEXT = """HloModule jit_step, entry_computation_layout={(f32[2,3]{1,0})->f32[2]{0}}

%sums (p.1: f32[2,3]) -> f32[2] {
  %p.1 = f32[2,3]{1,0} parameter(0)
  %zero = f32[] constant(0)
  ROOT %reduce.1 = f32[2]{0} reduce(%p.1, %zero), dimensions={1}, to_apply=%add
}

%turned (p.2: f32[2,3]) -> f32[3,2] {
  %p.2 = f32[2,3]{1,0} parameter(0)
  ROOT %transpose.1 = f32[3,2]{1,0} transpose(%p.2), dimensions={1,0}
}

%body (state: (s32[], f32[2,3])) -> (s32[], f32[2,3]) {
  %state = (s32[], f32[2,3]{1,0}) parameter(0)
  %x = f32[2,3]{1,0} get-tuple-element(%state), index=1
  %product = (f32[2,3]{1,0}, s8[64]{0}) custom-call(%x, %x), custom_call_target="__cublas$lt$matmul"
  ROOT %next = (s32[], f32[2,3]{1,0}) tuple(%x, %x)
}

ENTRY %main (x.1: f32[2,3]) -> f32[2] {
  %x.1 = f32[2,3]{1,0} parameter(0)
  %flat = f32[6]{0} bitcast(%x.1)
  %loop = (s32[], f32[2,3]{1,0}) while(%x.1), condition=%more, body=%body, backend_config={"known_trip_count":{"n":"3"}}
  %mosaic = f32[2,3]{1,0} custom-call(%x.1), custom_call_target="mosaic_gpu_v2"
  %turn = f32[3,2]{1,0} fusion(%x.1), kind=kInput, calls=%turned
  %grown = f32[2,3]{1,0} fusion(%x.1), kind=kLoop, calls=%sums, metadata={op_name="jit(step)/exp"}
  %copy.1 = f32[2,3]{1,0} copy(%x.1)
  ROOT %sum = f32[2]{0} fusion(%x.1), kind=kInput, calls=%sums
}
"""  # noqa: E501


def test_launches_are_counted_by_kind_and_as_often_as_loops_turn():
  assert launches.count(TEXT) == {
    "cuBLAS": 3,
    "own kernels": 1,
    "joins, transposes": 1,
    "elementwise": 1,
    "copies": 1,
    "reductions": 1,
  }
  places = [one.place for _, _, one in launches.launches(TEXT) if one.place]
  assert places == ["jit(step)/exp"]


def test_of_a_loop_of_steps_one_turn_is_counted():
  text = TEXT.replace('"known_trip_count":{"n":"3"}', "")
  assert launches.count(text) == {"cuBLAS": 1}


@pytest.mark.parametrize("platform", ["cpu", "gpu"])
def test_on_a_gpu_alone_a_pass_that_takes_minutes_is_left_out(platform):
  device = types.SimpleNamespace(platform=platform)
  mesh = types.SimpleNamespace(devices=np.array([[device]], object))
  assert bool(compiler_options(mesh)) == (platform == "gpu")


def test_without_the_compiler_one_line_says_what_to_install():
  try:
    importlib.metadata.version("jax-cuda13-plugin")
  except importlib.metadata.PackageNotFoundError:
    pass
  else:
    pytest.skip("XLA's compiler for GPUs is installed")
  command = [sys.executable, ROOT / "bin" / "gpu_compile"]
  answer = subprocess.run(command, capture_output=True, text=True, timeout=100)
  assert answer.returncode == 2
  [line] = answer.stderr.splitlines()
  assert 'pip install "jax[cuda13]==' in line
