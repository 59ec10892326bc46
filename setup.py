"""Packaging: a light core, and extras for what not everybody needs."""

import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

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
]
DATA = [
  "tensorflow-cpu>=2.20; platform_machine == 'x86_64'",  # tf.data pipelines
  "tensorflow>=2.20; platform_machine != 'x86_64'",  # the same where no -cpu is built
  "tensorflow-datasets>=4.9.9",  # builders of the corpora
  "importlib_resources>=6.0",  # tensorflow-datasets needs it and does not say so
]
VIZ = ["matplotlib>=3.9"]  # figures
DEV = [
  *DATA,
  *VIZ,
  "pytest>=8.2",  # tests
  "pytest-timeout>=2.3",  # a test that hangs ends
  "pytest-xdist>=3.6",  # test files side by side
  "beartype>=0.20",  # checks the types of signatures while testing
  "ruff>=0.9",  # format and lint
  "scikit-learn>=1.5",  # reference for metrics, simple methods on real data
  "hypothesis>=6.100",  # properties and fuzzing of the readers
  "nbclient>=0.10",  # executes the notebooks
  "nbformat>=5.10",  # reads the notebooks
  "ipykernel>=6.29",  # runs their cells
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


setup(
  name="mcr_jax",
  version=VERSION,
  description="Multimodal emotion and sentiment models in JAX: MCR, MIA-Net and peers",
  long_description=(ROOT / "README.md").read_text(),
  long_description_content_type="text/markdown",
  license="Apache-2.0",
  python_requires=">=3.11",
  packages=find_packages(include=["mcr_jax", "mcr_jax.*"]),
  package_data={"mcr_jax": ["py.typed"]},
  cmdclass={"build_py": BuildWithConfigs},
  install_requires=CORE,
  extras_require={
    "data": DATA,
    "viz": VIZ,
    "dev": DEV,
    "cuda": ["jax[cuda13]>=0.10"],  # NVIDIA GPUs
    "tpu": ["jax[tpu]>=0.10"],  # Google TPUs
  },
)
