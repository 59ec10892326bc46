"""Imports point one way: from what is specific to what is general."""

import ast
import pathlib
import sys
import tokenize

import mcr_jax

ROOT = pathlib.Path(mcr_jax.__file__).parent
# Each may import itself, and what stands beside it.
ALLOWED = {
  "errors": set(),
  "files": set(),
  "allocator": set(),
  "field": {"errors"},
  "native": {"errors"},
  "ops": {"errors", "native"},
  "contract": {"errors", "field", "data.schema"},
  "layers": {"errors", "field", "contract", "ops"},
  "models": {"errors", "field", "contract", "ops", "layers"},
  "conformance": {"errors", "contract", "models", "training"},
  "losses": {"errors", "ops"},
  "metrics": {"errors", "ops"},
  "evaluators": {"errors", "files", "losses", "metrics", "ops"},
  "data": {"errors", "files"},
  "flops": {"errors", "contract"},
  "extract": {"errors", "files", "field", "data"},
  "visualize": {"errors"},
  "figures": {
    *("errors", "config", "contract", "data", "evaluators", "metrics", "models"),
    *("flops", "runs", "visualize"),
  },
  "pages": {
    *("errors", "files", "compare", "data", "evaluators", "figures", "metrics"),
    *("runs", "visualize"),
  },
  "demo": {
    *("errors", "files", "cli", "data", "evaluators", "extract", "figures", "pages"),
    *("robustness", "runs", "visualize"),
  },
  "hosts": {"errors", "files"},
  "training": {
    *("errors", "field", "allocator", "contract", "ops", "losses", "metrics"),
    *("data", "hosts"),
  },
  "training.optim": {"errors"},
  "training.selection": set(),
  "runs": {
    *("errors", "files", "field", "config", "allocator", "contract", "losses"),
    *("metrics", "evaluators", "data", "hosts", "models", "ops", "training", "native"),
  },
  "sweeps": {
    *("errors", "files", "config", "contract", "data", "evaluators", "metrics"),
    *("hosts", "runs", "training"),
  },
  "papers": {
    *("errors", "files", "config", "contract", "data", "evaluators", "metrics"),
    *("models", "training", "runs", "sweeps", "flops", "compare"),
  },
  "runs.trees": {"errors", "files"},
  "runs.store": {"errors", "files", "allocator"},
  "runs.checkpoint": {"errors", "files", "runs.store", "runs.trees"},
  "runs.writer": {"errors", "files", "native"},
  "runs.progress": {"errors"},
}
# Heavy or optional, and who may load them, inside a function.
LATE = {
  "tensorflow": ("data",),
  "tensorflow_datasets": ("data",),
  "matplotlib": ("visualize", "data", "evaluators", "robustness", "sweeps"),
  "jinja2": ("pages",),
  "uvicorn": ("demo",),
  "av": ("extract",),
  "pocketsphinx": ("extract",),
  "pysubs2": ("extract",),
  "tokenizers": ("extract",),
  "faster_whisper": ("extract",),
  "ctranslate2": ("extract",),
  "opensmile": ("extract",),
  "transformers": ("extract",),
  "vl_convert": ("pages",),
  "safetensors": ("runs", "extract"),
  "sklearn": (),
  "torch": ("extract",),
}


def modules():
  for path in sorted(ROOT.rglob("*.py")):
    parts = path.relative_to(ROOT).with_suffix("").parts
    yield ".".join(part for part in parts if part != "__init__"), path


def imports(path, top_only=False):
  """Absolute names that a file imports, everywhere or when it is loaded."""
  with tokenize.open(path) as file:
    tree = ast.parse(file.read())
  nodes = tree.body if top_only else ast.walk(tree)
  for node in nodes:
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      assert not node.level, f"{path}: relative import"
      yield node.module
      yield from (f"{node.module}.{alias.name}" for alias in node.names)


def rule_of(name):
  """The most specific entry of `ALLOWED` that a module falls under."""
  known = [x for x in ALLOWED if name == x or name.startswith(f"{x}.")]
  return max(known, key=len, default=None)


def own(path):
  """The project's modules that a file imports, without the package's name."""
  known = {name for name, _ in modules()}
  for name in imports(path):
    short = name.removeprefix("mcr_jax.")
    if short != name and short in known:
      yield short


def test_imports_point_one_way():
  wrong = []
  for name, path in modules():
    rule = rule_of(name)
    if rule is None or path.name == "__main__.py":
      continue
    allowed = ALLOWED[rule] | {rule}
    wrong += [
      f"{name} imports {other}"
      for other in own(path)
      if not any(other == a or other.startswith(f"{a}.") for a in allowed)
    ]
  assert not wrong, "\n".join(wrong)


def test_heavy_packages_are_loaded_late_and_by_few():
  for name, path in modules():
    loaded = {x.split(".")[0] for x in imports(path, top_only=True)} & set(LATE)
    # tensorflow-datasets loads the builders; the decoder is a process of its own.
    alone = name.startswith("data.builders") or name == "extract.decoder"
    assert not loaded or alone, f"{name} loads {loaded}"
    for package in {x.split(".")[0] for x in imports(path)} & set(LATE):
      room = name.split(".")[0]
      assert room in LATE[package], f"{name} imports {package}"


def test_data_is_read_without_jax():
  for name, path in modules():
    if name.startswith("data"):
      used = {x.split(".")[0] for x in imports(path)}
      assert not used & {"jax", "flax", "optax"}, f"{name} imports {used}"


def test_configs_import_almost_nothing():
  for path in (ROOT.parent / "configs").rglob("*.py"):
    used = {x.split(".")[0] for x in imports(path)}
    assert used <= {"ml_collections", "configs", *sys.stdlib_module_names}, path


def test_every_folder_of_the_package_has_an_init():
  for path in ROOT.rglob("*.py"):
    assert (path.parent / "__init__.py").is_file(), path.parent
