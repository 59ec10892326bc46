"""Every config file builds its model, and those of a corpus have known sizes."""

import pathlib

import jax
import pytest

from configs import systems
from mcr_jax import config as configs
from mcr_jax import flops, losses, models
from mcr_jax.contract import Spec
from mcr_jax.errors import UserError
from mcr_jax.runs.inputs import build_model

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "configs"
FILES = sorted(
  path.name
  for path in FOLDER.glob("*.py")
  if "def get_config(" in path.read_text("utf-8")
)
WIDTHS = {"text": 300, "vision": 35, "audio": 74}
TASKS = {"regression": (1,), "binary": (4, 2)}
# At the features above, as tests/reference/trees.py adds the arrays up.
PARAMETERS = {
  "mcr_mosi.py": 750_199,
  "mcr_mosi.py:unaligned": 2_469_349,
  "mcr_mosei.py": 991_465,
  "mcr_mosei.py:unaligned": 3_950_665,
  "mcr_iemocap.py": 675_426,
  "mcr_iemocap.py:unaligned": 2_394_186,
  "mult_mosi.py": 1_573_321,
  "mult_mosi.py:unaligned": 1_573_321,
  "mult_mosei.py": 1_573_321,
  "mult_mosei.py:unaligned": 1_573_321,
  "mult_iemocap.py": 1_580_928,
  "mult_iemocap.py:unaligned": 1_580_928,
  "mia_net_mosi.py": 726_181,
  "mia_net_meld.py": 733_387,
}


def variants(name):
  """What may stand after the colon of a config file, as the file itself says it."""
  with pytest.raises(UserError) as told:
    configs.load(f"{FOLDER / name}:,?")
  return str(told.value).rpartition("known: ")[2].split(", ")


def systems_files():
  """Every system, on every corpus for which it has settings of its own."""
  for name, entry in systems.SYSTEMS.items():
    parts = [part for part in entry if part not in systems.GROUPS]
    yield from (f"systems.py:{name}", *(f"systems.py:{name},{p}" for p in parts))


OTHERS = [
  name
  for file in FILES
  for name in (file, *(f"{file}:{v}" for v in variants(file) if v != "quick"))
  if name not in PARAMETERS and not name.startswith("systems")
]
OTHERS += [f"own.py:{model}" for model in models.names() if model != "mcr"]
OTHERS += systems_files()


def marked(name):
  """One config of a model is enough for a quick look."""
  quick = name in ("mcr_mosi.py", "mult_mosi.py") or name.startswith(("mia_net", "own"))
  return pytest.param(name, marks=() if quick else pytest.mark.slow)


def count(config):
  """How many parameters a config's model has at the lengths it makes room for."""
  modalities = tuple(config.data.modalities) or tuple(WIDTHS)
  widths = {m: WIDTHS.get(m, 7) for m in modalities}
  lengths = {m: config.data.lengths.get(m, 5) for m in modalities}
  task = "regression" if config.data.task == "auto" else config.data.task
  outputs = TASKS.get(task, (7,))
  losses.resolve(config.loss.name, task)
  unit = models.load(config.model.name).card.unit
  columns = ("turn", "speaker") if unit == "dialogue" else ()
  spec = Spec(lengths, widths, outputs, task, unit=unit, turns=3, columns=columns)
  model, batch = build_model(config, spec), spec.example()
  # One trace for both: it is all the time that this takes.
  output, variables = jax.eval_shape(model.init_with_output, jax.random.key(0), batch)
  assert output.predictions.shape == (*batch.weight.shape, *outputs)
  return flops.parameters(variables["params"])


@pytest.mark.parametrize("name", [marked(name) for name in PARAMETERS])
def test_a_published_config_has_its_number_of_parameters(name):
  assert count(configs.load(str(FOLDER / name))) == PARAMETERS[name]


@pytest.mark.parametrize("name", [marked(name) for name in OTHERS])
def test_every_other_config_and_variant_builds_its_model(name):
  assert count(configs.load(str(FOLDER / name))) > 0


def test_a_name_that_systems_does_not_have_is_refused():
  for arg in ("nobody", "mfn,nobody", "mfn,mosi,mosei", "mfn,meld,unaligned"):
    with pytest.raises(UserError, match=arg.split(",")[-1]):
      configs.load(f"systems:{arg}")


def test_settings_by_another_name_are_those_of_the_corpus():
  mosi, mosei = (configs.load(f"systems:misa,{c}mmsa") for c in ("", "mosei,"))
  assert (mosi.train.batch_size, mosi.loss.weights.similarity) == (16, 0.3)
  assert (mosei.train.batch_size, mosei.loss.weights.similarity) == (64, 0.8)
  for name in ("mfn", "mfm"):  # which were found on one corpus, whole
    on = [configs.load(f"systems:{name},{corpus}authors") for corpus in ("", "mosei,")]
    for group in ("model", "optim", "loss"):
      assert on[0][group] == on[1][group], (name, group)


@pytest.mark.parametrize(
  "corpus, samples", [("mosi", 1284), ("mosei", 16326), ("iemocap", 2717)]
)
def test_cm_bert_warms_up_for_a_tenth_of_its_updates(corpus, samples):
  c = configs.load(f"systems:cm_bert,{corpus}")
  updates = c.train.epochs * -(-samples // c.train.batch_size)
  assert c.optim.warmup_steps == updates // 10


@pytest.mark.parametrize("corpus", systems.UNALIGNED)
@pytest.mark.parametrize("name", systems.SYSTEMS)
def test_every_system_has_room_for_the_frames_of_a_corpus(name, corpus):
  if models.load(name).card.unit == "utterance":
    lengths = systems.get_config(f"{name},{corpus},unaligned").data.lengths
    assert lengths.to_dict() == systems.UNALIGNED[corpus]


@pytest.mark.parametrize("name", FILES)
def test_every_config_has_a_quick_variant_on_synthetic_data(name):
  config = configs.load(f"{FOLDER / name}:quick")
  assert config.data.path == "synthetic"
  assert config.train.epochs <= 5 and len(config.seeds) <= 2


def test_a_quick_system_reads_what_it_reads_of_its_corpus():
  for name in ("cm_bert", "ssl_fusion", "mfn", "dialogue_rnn,meld"):
    quick = configs.load(f"systems:{name},quick").data
    assert quick.modalities == configs.load(f"systems:{name}").data.modalities
    assert quick.path == "synthetic" and len(quick.modalities) in (2, 3)


@pytest.mark.parametrize("name", ["pmr", "routing"])
def test_a_large_system_is_small_for_a_quick_look(name):
  whole, quick = (configs.load(f"systems:{name}{v}").model for v in ("", ",quick"))
  for field, value in systems.SYSTEMS[name]["small"]["model"].items():
    assert quick[field] == value < whole[field]
