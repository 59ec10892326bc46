"""Packaging: a light core, extras for what not everybody needs, and kernels for CPUs.

The kernels are optional: where no C++17 compiler or no jaxlib is found while building,
they are left out, and the package says so (`mcr_jax.native.status`).
"""

import concurrent.futures
import hashlib
import importlib.util
import os
import re
import shutil
import sysconfig
from pathlib import Path

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py
from setuptools.errors import CompileError

ROOT = Path(__file__).parent
VERSION = re.search(
  r'__version__ = "(.+)"', (ROOT / "mcr_jax" / "__init__.py").read_text()
)[1]

CORE = [
  "jax>=0.10",  # arrays, differentiation, compilation
  "flax>=0.12",  # Linen modules
  "optax>=0.2.5",  # optimisers
  "orbax-checkpoint>=0.11.30",  # checkpoints
  "numpy>=2.0",  # data on the host
  "scipy>=1.13",  # statistical tests of `compare` (JAX needs it anyway)
  "chex>=0.1.90",  # assertions on trees of arrays
  "ml_collections>=1.0",  # configs and their flags
  "absl-py>=2.1",  # the flags under ml_collections
  "jaxtyping>=0.3",  # shapes in signatures
  "tensorboardX>=2.6.2",  # TensorBoard events without TensorFlow
  "tqdm>=4.66",  # progress with time left
  "h5py>=3.11",  # CMU-MultimodalSDK files
  "safetensors>=0.5",  # weights of model files: 0.5 MB, needs nothing, runs no code
]
DATA = [
  "tensorflow-cpu>=2.20; platform_machine == 'x86_64'",  # tf.data pipelines
  "tensorflow>=2.20; platform_machine != 'x86_64'",  # the same where no -cpu is built
  "tensorflow-datasets>=4.9.9",  # builders of the corpora
  "importlib_resources>=6.0",  # tensorflow-datasets needs it and does not say so
]
VIZ = ["matplotlib>=3.9"]  # figures
REPORT = [
  "jinja2>=3.1",  # templates of the page, escaped
  "vl-convert-python>=1.9",  # Vega-Lite's own bundler: its scripts, offline, in a wheel
]
EXTRACT = [
  "av>=15",  # FFmpeg in a wheel: clips to samples and frames
  "pocketsphinx==5.0.4",  # aligns words with sound; later versions lack wheels
  "pysubs2>=1.7",  # subtitles
  "tokenizers>=0.20",  # text to the pieces of a language model
]
ASR = [*EXTRACT, "faster-whisper>=1.1"]  # whisper by CTranslate2: words, and features
EGEMAPS = [*EXTRACT, "opensmile>=2.6"]  # audEERING's licence: research, no products
HUB = [
  *EXTRACT,
  "transformers>=5",  # wav2vec2, HuBERT, CLIP, RoBERTa, from a folder
  "torch>=2.6",  # what it computes with
]
DEMO = [
  "starlette>=0.46",  # routes and streamed bodies in 0.8 MB; forms, which it would need
  # another parser for, are not used. gradio would bring 50 packages and its own page
  "uvicorn>=0.34",  # serves it, with h11: pure Python
]
DOCS = [
  "mkdocs>=1.6,<2",  # builds the site; 2 has no plugins
  "mkdocs-material>=9.6",  # its theme
  "mkdocstrings[python]>=0.30",  # API pages from docstrings
]
DEV = [
  *DATA,
  *VIZ,
  *REPORT,
  *EXTRACT,
  *DEMO,
  *DOCS,
  "pytest>=8.2",  # tests
  "pytest-timeout>=2.3",  # a test that hangs ends
  "pytest-xdist>=3.8",  # test files side by side
  "beartype>=0.20",  # checks the types of signatures while testing
  "ruff>=0.9",  # format and lint
  "scikit-learn>=1.5",  # reference for metrics, simple methods on real data
  "hypothesis>=6.100",  # properties and fuzzing of the readers
  "nbclient>=0.10",  # executes the notebooks
  "nbformat>=5.10",  # reads the notebooks
  "ipykernel>=6.29",  # runs their cells
  "httpx2>=2",  # starlette's client for tests
  "selenium>=4.20",  # opens pages in a headless browser, where there is one
]


class BuildWithConfigs(build_py):
  """Puts the shipped configs inside the package, where `--config NAME` finds them."""

  def run(self):
    super().run()
    # In an editable install they are where they are written.
    if not self.editable_mode:
      inside = Path(self.build_lib, "mcr_jax", "_configs")
      shutil.rmtree(inside, ignore_errors=True)
      for file in sorted((ROOT / "configs").rglob("*.py")):
        copy = inside / file.relative_to(ROOT / "configs")
        copy.parent.mkdir(parents=True, exist_ok=True)
        self.copy_file(str(file), str(copy))


SOURCES = "mcr_jax/native/src"
OPTIMISED = ["-std=c++17", "-O3", "-fno-math-errno", "-ffp-contract=fast"]
QUIET = ["-fvisibility=hidden", "-w", "-g0"]
# Instruction sets beside that which every processor of the kind has.
X86 = {
  "avx2": ["-mavx2", "-mfma"],
  "avx512": [f"-mavx512{x}" for x in ("f", "bw", "vl", "dq")] + ["-mfma"],
}


class Kernels(build_ext):
  """Compiles every file for the instruction set that its name says.

  Python's own headers are not needed: the library is loaded by `ctypes`, and one serves
  every Python.
  """

  def build_extension(self, extension):
    jaxlib = importlib.util.find_spec("jaxlib")
    if jaxlib is None:
      raise CompileError("the kernels need the headers of jaxlib")
    path = self.get_ext_fullpath(extension.name)
    needed = [*extension.sources, *extension.depends, __file__]
    if not self.force and os.path.exists(path):
      if os.path.getmtime(path) > max(map(os.path.getmtime, needed)):
        return
    include = [str(Path(jaxlib.submodule_search_locations[0], "include"))]

    def compiled(source):
      flags = X86.get(Path(source).stem.removeprefix("attention_"), [])
      return self.compiler.compile(
        [source],
        output_dir=self.build_temp,
        include_dirs=include,
        extra_postargs=[*OPTIMISED, *QUIET, *flags],
        depends=extension.depends,
      )

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as side_by_side:
      objects = sum(side_by_side.map(compiled, extension.sources), [])
    os.makedirs(os.path.dirname(path), exist_ok=True)
    self.compiler.link_shared_object(objects, path, target_lang="c++")
    # By its end the package knows a whole library: to load a part of one can kill a
    # process. The linker's format ignores what follows.
    whole = Path(path).read_bytes()
    Path(path).write_bytes(whole + hashlib.sha256(whole).digest())


def kernels() -> Extension:
  """The library of this platform: what it is built for, not where."""
  x86 = sysconfig.get_platform().endswith(("x86_64", "amd64"))
  names = ["calls", "attention_portable", *(f"attention_{x}" for x in X86 if x86)]
  return Extension(
    "mcr_jax.native._kernels",
    [f"{SOURCES}/{name}.cc" for name in names],
    depends=[str(path) for path in Path(SOURCES).glob("*.h")],
    py_limited_api=True,
    optional=True,
  )


setup(
  name="mcr_jax",
  version=VERSION,
  description="Multimodal emotion and sentiment models in JAX: MCR, MIA-Net and peers",
  long_description=(ROOT / "README.md").read_text(),
  long_description_content_type="text/markdown",
  license="Apache-2.0",
  python_requires=">=3.11",
  packages=find_packages(include=["mcr_jax", "mcr_jax.*"]),
  package_data={
    "mcr_jax": ["py.typed"],
    "mcr_jax.pages": ["templates/*", "vendor/*"],
    "mcr_jax.demo": ["page/*"],
    "mcr_jax.papers": ["published.json"],
  },
  ext_modules=[kernels()],
  cmdclass={"build_py": BuildWithConfigs, "build_ext": Kernels},
  options={"bdist_wheel": {"py_limited_api": "cp311"}},
  install_requires=CORE,
  extras_require={
    "data": DATA,
    "viz": VIZ,
    "report": [*VIZ, *REPORT],
    "extract": EXTRACT,
    "asr": ASR,
    "egemaps": EGEMAPS,
    "hub": HUB,
    "demo": [*EXTRACT, *REPORT, *DEMO],
    "docs": DOCS,
    "dev": DEV,
    "cuda": ["jax[cuda13]>=0.10"],  # NVIDIA GPUs
    "cuda12": ["jax[cuda12]>=0.10"],  # the same with drivers before 580
    "tpu": ["jax[tpu]>=0.10"],  # Google TPUs
  },
)
