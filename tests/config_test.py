import dataclasses
import json
import pathlib
import sys
import textwrap

import pytest

from mcr_jax import config as configs
from mcr_jax.config import described, files
from mcr_jax.config.groups import GROUPS, Phase
from mcr_jax.errors import UserError

SWITCHES = ("cmu", "scu", "mutual_attention", "attention_layer")
FILE = """
  from ml_collections import ConfigDict
  from configs import common

  def get_config(arg=""):
    c = ConfigDict()
    c.train = dict(epochs=3)
    c.data = dict(lengths=dict(text=50), modalities=["text", "audio"])
    return common.finish(c, arg)
"""


@pytest.fixture
def write(tmp_path):
  def write(text: str, name: str = "mine.py") -> str:
    (tmp_path / name).write_text(textwrap.dedent(text))
    return str(tmp_path / name)

  return write


def refused(*words: str):
  """A block that ends in a UserError of one line with these words in it, in order."""
  return pytest.raises(UserError, match="^[^\n]*" + "[^\n]*".join(words) + "[^\n]*$")


def test_every_field_is_described_in_a_line():
  config = configs.complete({"model": {"name": "mia_net"}, "optim": {"lr": 0.5}})
  lines = [x for x in described.text(config).splitlines() if x]
  at = lines.index("Fields of a phase, a dict of train.phases:")
  phase = [x.split("=")[0] for x in lines[at + 1 :]]
  assert phase == [x.name for x in dataclasses.fields(Phase)]
  lines = lines[:at]
  by_field = {x.split("=")[0].removeprefix("--config."): x for x in lines}
  groups = {g: of for g, of in configs.plain(config).items() if g in GROUPS}
  named = {f"{g}.{k}" for g, of in groups.items() for k in of}
  assert set(by_field) == named | {"seeds"} and len(lines) == len(by_field)
  lr = by_field["optim.lr"]
  assert lr == (
    "--config.optim.lr=0.5  (default 0.001)  [a number in (0, inf)]  Learning rate."
  )
  assert "default" not in by_field["model.channels"].split("[")[0]


def test_paths_may_begin_with_the_home_folder(monkeypatch):
  monkeypatch.setenv("HOME", "/home/ada")
  groups = {"data": {"path": "~/x.npz"}, "train": {"init_from": "~/runs/a"}}
  config = configs.complete(groups)
  assert config.data.path == "/home/ada/x.npz"
  assert config.train.init_from == "/home/ada/runs/a"


def test_a_file_lies_on_top_of_the_defaults(write):
  config = configs.load(write(FILE))
  assert config.train.epochs == 3 and config.train.batch_size == 32
  assert config.data.modalities == ("text", "audio")
  assert config.data.lengths.to_dict() == {"text": 50}
  assert config.model.name == "mcr" and "width" in config.model
  with pytest.raises(AttributeError):
    config.train.epoch = 3


def test_the_argument_of_a_file_chooses_a_variant(write):
  path = write(FILE)
  assert configs.load(path + ":quick").data.path == "synthetic"
  with refused("mine.py, line 9", "quik", "quick"):
    configs.load(path + ":quik")


def text_of(value) -> str:
  return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def test_every_default_can_be_given_on_the_command_line():
  config = configs.complete({})
  for path, value in configs.flatten(config).items():
    argument = f"--config.{path}={value if value == {} else text_of(value)}"
    assert configs.difference(config, configs.override(config, [argument])) == [], path


def test_every_field_says_what_it_is_for():
  for group in GROUPS.values():
    for field in dataclasses.fields(group):
      assert field.metadata["mcr_jax"].doc, (group, field.name)


@pytest.mark.parametrize(
  ("argument", "path", "value"),
  [
    ("--config.train.epochs=7", "train.epochs", 7),
    ("--config.optim.lr=1", "optim.lr", 1.0),
    ("--config.data.normalize", "data.normalize", True),
    ("--config.data.trim=false", "data.trim", False),
    ("--noconfig.data.trim", "data.trim", False),
    ("--config.data.path=a=b,c", "data.path", "a=b,c"),
    ("--config.seeds=4", "seeds", (4,)),
    ("--config.seeds=4,5", "seeds", (4, 5)),
    ("--config.seeds=(4, 5)", "seeds", (4, 5)),
    ("--config.data.modalities=text", "data.modalities", ("text",)),
    ("--config.data.modalities=text,audio", "data.modalities", ("text", "audio")),
    ("--config.data.modalities=('x',)", "data.modalities", ("x",)),
    ("--config.data.modalities=L,A", "data.modalities", ("text", "audio")),
    ("--config.data.lengths.V=9", "data.lengths.vision", 9),
    ("--config.data.lengths={'L': 3}", "data.lengths.text", 3),
    ("--config.data.features.text=3", "data.features.text", "3"),
    ("--config.model.targets=language", "model.targets", ("text",)),
    ("--config.model.kernels.acoustic=3", "model.kernels.audio", 3),
    ("--config.data.modalities=", "data.modalities", ()),
    ("--config.data.lengths.vision=9", "data.lengths.vision", 9),
    ("--config.model.width=20", "model.width", 20),
    ("--config.loss.weights.task=2", "loss.weights.task", 2.0),
    (
      "--config.optim.multipliers=(('text/.*', 0.1),)",
      "optim.multipliers",
      (("text/.*", 0.1),),
    ),
    (
      "--config.train.phases=[{'epochs': 2, 'trainable': ['text/.*']}]",
      "train.phases",
      ({"epochs": 2, "trainable": ("text/.*",), "task": True},),
    ),
  ],
)
def test_an_override_has_the_type_of_its_field(argument, path, value):
  config = configs.override(configs.default(), [argument])
  found = configs.flatten(config)[path]
  assert found == value and type(found) is type(value)


def test_a_modality_has_one_name_in_all_fields():
  config = configs.complete(
    {"data": {"lengths": {"L": 9}, "align": "language"}, "model": {"kernels": {"v": 1}}}
  )
  assert config.data.lengths.to_dict() == {"text": 9} and config.data.align == "text"
  assert config.model.kernels.to_dict() == {"vision": 1}
  config = configs.override(config, ["--config.data.lengths.l=7"])
  assert config.data.lengths.to_dict() == {"text": 7}
  with refused("data.lengths", "L, text"):
    configs.complete({"data": {"lengths": {"L": 9, "text": 8}}})


def test_a_file_serves_another_model_and_says_what_does_not_apply(tmp_path, capsys):
  file = tmp_path / "file.py"
  text = (
    "def get_config():\n  return {'model': {'name': 'mia_net', 'channels': 2, FIELD}}"
  )
  file.write_text(text.replace("FIELD", "'dropout': 0.3"))
  config = configs.load(
    str(file), ["--config.model.name=tfn", "--config.model.width=8"]
  )
  assert (config.model.name, config.model.width, config.model.dropout) == (
    "tfn",
    8,
    0.3,
  )
  note = capsys.readouterr().err
  assert "model.channels" in note and "dropout" not in note and note.count("\n") == 1
  file.write_text(text.replace("FIELD", "'chanels': 3"))
  with refused('"chanels"'):
    configs.load(str(file), ["--config.model.name=tfn"])
  file.write_text(text.replace("FIELD", ""))
  with refused('"channels"'):
    override = ["--config.model.name=tfn", "--config.model.channels=3"]
    configs.load(str(file), override)


def test_a_file_leaves_the_losses_of_its_model_behind(write, capsys):
  loss = "{'gamma': GAMMA, 'weights': {'regularization': 2.0, 'task': 3.0}}"
  text = (
    f"def get_config():\n  return {{'model': {{'name': 'mia_net'}}, 'loss': {loss}}}"
  )
  config = configs.load(write(text.replace("GAMMA", "0.5")))
  assert config.loss.gamma == 0.5 and config.loss.weights.regularization == 2.0
  other = ["--config.model.name=tfn"]
  config = configs.load(write(text.replace("GAMMA", "0.5")), other)
  assert config.loss.gamma == 0.0 and config.loss.weights.to_dict() == {"task": 3.0}
  note = capsys.readouterr().err
  assert "loss.gamma" in note and "loss.weights.regularization" in note
  assert "task" not in note
  # What is as the former model has it anyway is not worth a word.
  configs.load(write(text.replace("GAMMA", "0.3").replace("2.0", "1.0")), other)
  assert not capsys.readouterr().err


def test_a_model_file_brings_its_own_fields(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / "mine.py").write_text(
    "from mcr_jax import contract\n"
    "from mcr_jax.contract import Card, field\n\n\n"
    "class Model(contract.Model):\n"
    "  card = Card('Mine', losses={'extra': 0.5}, phases=({'epochs': 2},))\n"
    "  size: int = field(3, low=2, doc='Of it.')\n"
  )
  given = ["--config.model.file=mine.py", "--config.model.size=4"]
  config = configs.load("own", given)
  assert config.model.to_dict() == {
    "name": "mine",
    "file": str(tmp_path / "mine.py"),
    "size": 4,
  }
  assert config.loss.weights.to_dict() == {"task": 1.0, "extra": 0.5}
  assert [phase["epochs"] for phase in config.train.phases] == [2]
  # As it is kept, it is found from any folder.
  monkeypatch.chdir("/")
  assert configs.complete(configs.from_json(configs.to_json(config))) == config
  with refused("model.size=1"):
    configs.override(config, ["--config.model.size=1"])
  with refused("model.file=.*none.py"):
    configs.load("own", ["--config.model.file=none.py"])


def test_the_last_override_wins():
  overrides = [
    "--config.seeds=1,2", "--config.train.epochs=9", "--config.seeds=3",
  ]  # fmt: skip
  config = configs.override(configs.default(), overrides)
  assert config.seeds == (3,) and config.train.epochs == 9


@pytest.mark.parametrize(
  ("argument", "words"),
  [
    ("--config.train.epoch=3", ["config.train", '"epoch"', '"epochs"']),
    ("--config.trian.epochs=3", ['"trian"', '"train"']),
    ("--config.model.widht=3", ["config.model", '"widht"', '"width"']),
    ("--config.train.lr=3", ["optim.lr"]),
    ("--config.train.epochs=x", ["train.epochs='x'", "int", "40"]),
    ("--config.train.epochs=1.5", ["train.epochs='1.5'", "int"]),
    ("--config.data.trim=maybe", ["data.trim='maybe'", "bool"]),
    ("--config.train.epochs", ["train.epochs", "train.epochs=VALUE"]),
    ("--noconfig.train.epochs", ["train.epochs", "True or False"]),
    ("--noconfig.data.trim=3", ["noconfig.data.trim=3"]),
    ("--config.train=3", ["config.train", "group", "epochs"]),
    ("--config.train.epochs.more=3", ["train.epochs is a value"]),
    ("--config.seeds[0]=3", [r'"seeds\[0\]"']),
    ("--config.data.lengths=3", ["data.lengths='3'", "dict"]),
    ("--config.data.lengths.text=long", ["data.lengths.text='long'", "int"]),
    ("--config.data.lengths.text=99999999999", ["data.lengths.text=99999999999"]),
    ("--config.data.modalities=(text,audio", [r"data.modalities='\(text,audio'"]),
    ("--config.data.modalities=text]", ["data.modalities='text]'"]),
    ("--config.evals.splits=test,test", [r"evals.splits=\('test', 'test'\)"]),
    ("--config.loss.weights.tsak=1", ["loss.weights='tsak'", "task"]),
    ("--config.loss.weights.task=a", ["loss.weights.task='a'", "float"]),
    ("--config.seed=1", ['"seed"', "seeds or"]),
    ("config.train.epochs=3", ["config.train.epochs=3", "--config.group.field"]),
    ("--config.model.name=mrc", ["'mrc'", "mcr"]),
  ],
)
def test_a_wrong_override_is_one_clear_error(argument, words):
  with refused(*words):
    configs.override(configs.default(), [argument])


@pytest.mark.parametrize(
  ("values", "words"),
  [
    ({"train": {"epoch": 3}}, ['"epoch"', '"epochs"', "epochs, phases"]),
    ({"train": {"epochs": 3.0}}, [r"train.epochs=3\.0", "int"]),
    ({"train": {"epochs": True}}, ["train.epochs=True", "int"]),
    ({"train": 3}, ["train=3", "dict"]),
    ({"optim": {"name": "adma"}}, ["optim.name='adma'", '"adam"']),
    ({"optim": {"lr": 0.0}}, [r"optim.lr=0\.0", r"\(0, inf\)"]),
    ({"optim": {"lr": float("nan")}}, ["optim.lr=nan"]),
    ({"loss": {"gamma": 1.1}}, [r"loss.gamma=1\.1", r"\[0, 1\]"]),
    ({"loss": {"weights": {"tsak": 1.0}}}, ["loss.weights='tsak'", "task"]),
    ({"loss": {"weights": {"task": -1.0}}}, [r"loss.weights.task=-1\.0"]),
    ({"loss": {"weights": {"task": float("nan")}}}, ["loss.weights.task=nan"]),
    ({"loss": {"weights": {"task": 0}}}, [r"loss.weights={'task': 0\.0}"]),
    ({"loss": {"gamma": 0.5}}, [r"loss.gamma=0\.5", "mcr"]),
    ({"loss": {"weights": {"task": "a"}}}, ["loss.weights.task='a'", "float"]),
    ({"loss": {"huber_delta": 0}}, [r"loss.huber_delta=0\.0"]),
    ({"data": {"lengths": {"text": 0}}}, ["data.lengths.text=0"]),
    ({"data": {"modalities": ("a", "a")}}, [r"data.modalities=\('audio', 'audio'\)"]),
    ({"data": {"features": {"text": 3}}}, ["data.features.text=3", "str"]),
    ({"data": {"path": "a\0b"}}, [r"data.path='a\\x00b'"]),
    ({"data": {"folds": 2}}, ["data.folds=2", "3 or more"]),
    ({"data": {"folds": 5, "fold": 5}}, ["data.fold=5", "-1 to 4"]),
    ({"data": {"fold": 0}}, ["data.fold=0"]),
    ({"seeds": ()}, [r"seeds=\(\)"]),
    ({"seeds": (1, 1)}, [r"seeds=\(1, 1\)"]),
    ({"seeds": (-1,)}, ["seeds=-1"]),
    ({"seeds": (1.5,)}, [r"seeds=1\.5", "int"]),
    ({"mesh": {"seed": -1}}, ["mesh.seed=-1", "mesh.data=-1"]),
    ({"mesh": {"data": 0}}, ["mesh.data=0"]),
    ({"evals": {"splits": ("dev",)}}, ["evals.splits='dev'", "valid"]),
    ({"model": {"name": 3}}, ["model.name=3", "str"]),
    ({"optim": {"multipliers": ("a", 1.0)}}, ["optim.multipliers=.*'a'"]),
    ({"optim": {"multipliers": (("(", 1.0),)}}, [r"optim.multipliers='\('"]),
    ({"optim": {"multipliers": (("a", -1.0),)}}, ["'a'", r"-1\.0"]),
    ({"train": {"phases": ({},)}}, ["train.phases.0={}", "epochs"]),
    ({"train": {"phases": (3,)}}, ["train.phases.0=3", "dict"]),
    ({"train": {"phases": ({"epochs": 0},)}}, ["train.phases.0.epochs=0"]),
    ({"train": {"phases": ({"epochs": 41},)}}, ["train.phases", "41", "40"]),
    (
      {"train": {"phases": ({"epochs": 1, "trainable": ()},)}},
      ["train.phases.0.trainable"],
    ),
    (
      {"train": {"phases": ({"epochs": 1, "trainable": ("[",)},)}},
      [r"train.phases.0.trainable='\['"],
    ),
    ({"train": {"phases": ({"epochs": 1, "taks": True},)}}, ['"taks"', '"task"']),
  ],
)
def test_a_wrong_config_is_one_clear_error(values, words):
  with refused(*words):
    configs.complete(values)


@pytest.mark.parametrize(
  ("name", "field", "value", "word"),
  [
    ("mcr", "kernel", 0, "=0"),
    ("mcr", "kernels", {"text": 0}, "text=0"),
    ("mcr", "kernels", {"text": "foo"}, "text='foo'"),
    ("mcr", "kernels", {"text": True}, "text=True"),
    ("mcr", "targets", ("text", "text"), r"\('text', 'text'\)"),
    ("mcr", "targets", ("",), "=''"),
    ("mcr", "dtype", "bfloat17", "'bfloat17'.*\"bfloat16\""),
    ("mcr", "dtype", "int32", "'int32'.*float32"),
    ("mcr", "width", 0, "=0"),
    ("mcr", "width", -4, "=-4"),
    *[("mcr", f, 0, "=0") for f in ("heads", "cmu_heads", "num_layers")],
    ("mcr", "encoder_layers", -1, "=-1"),
    ("mcr", "embed_dropout", 1.0, r"=1\.0"),
    ("mcr", "attention_dropout", -0.1, r"=-0\.1"),
    ("mcr", "residual_dropout", float("nan"), "=nan"),
    *[("mult", f, 0, "=0") for f in ("width", "heads", "layers", "kernel")],
    ("mult", "self_layers", -1, "=-1"),
    ("mult", "kernels", {"audio": 1.5}, r"audio=1\.5"),
    ("mult", "relu_dropout", 1.5, r"=1\.5"),
    ("mia_net", "channels", -1, "=-1"),
    ("mia_net", "kernel_size", 0, "=0"),
    ("mia_net", "column_scale", float("nan"), "=nan"),
    ("mia_net", "auxiliaries", ("audio", "audio"), r"\('audio', 'audio'\)"),
    ("concat", "width", 0, "=0"),
    ("concat", "depth", -1, "=-1"),
    ("concat", "dtype", "float8", "'float8'"),
    ("tfn", "width", -1, "=-1"),
    ("tfn", "hidden", 0, "=0"),
    ("lmf", "rank", 0, "=0"),
    ("cim", "positions", 0, "=0"),
    ("mha", "heads", 0, "=0"),
    ("transformer", "dropout", 1.0, r"=1\.0"),
    ("ct", "width", 0, "=0"),
  ],
)
def test_a_number_that_no_model_can_have_is_one_clear_error(name, field, value, word):
  with refused(f"model.{field}.*{word}"):
    configs.complete({"model": {"name": name, field: value}})


def test_what_a_model_can_do_without_may_be_0():
  for name, field in (("concat", "depth"), ("mult", "self_layers"), ("tfn", "width")):
    configs.complete({"model": {"name": name, field: 0}})


def test_integers_serve_as_floats_and_lists_as_tuples():
  config = configs.complete({"optim": {"lr": 1}, "seeds": [1, 2]})
  assert type(config.optim.lr) is float and config.seeds == (1, 2)


def test_a_phase_has_all_its_fields():
  config = configs.complete({"train": {"phases": [{"epochs": 40, "task": False}]}})
  (phase,) = config.train.phases
  assert phase == {"epochs": 40, "trainable": (".*",), "task": False}


@pytest.mark.parametrize(
  ("text", "word"),
  [
    ("x = 1", "get_config"),
    ("def get_config(:", "line 1: SyntaxError"),
    ("def get_config():\n  return 1 / 0", "line 2: ZeroDivisionError"),
    ("import numpi", "line 1: ModuleNotFoundError"),
    ("def get_config():\n  return 3", "3"),
    ("def get_config():\n  return dict(trian={})", "trian"),
    ("def get_config():\n  return dict(model=3)", "model=3"),
  ],
)
def test_a_broken_file_is_named(write, text, word):
  with refused("mine.py", word):
    configs.load(write(text))


def test_a_missing_file_is_answered_with_the_nearest(write):
  path = write(FILE)
  with refused("mina.py", '"mine.py"'):
    configs.load(path.replace("mine", "mina") + ":quick")
  with refused("folder"):
    configs.load(path.replace("mine.py", ""))


def test_a_shipped_file_is_found_by_its_name_in_any_folder(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  assert configs.load("mcr_mosi:unaligned,quick").data.buckets == 6
  sweeps = files.shipped("get_sweep", "sweeps")
  assert "mcr_ablation" in sweeps and "common" not in sweeps
  with refused("mcr_mosy", '"mcr_mosi"', "mult_mosi"):
    configs.load("mcr_mosy")
  # What the README calls by its path in a checkout.
  with refused("configs/mcr_mosi.py", '"mcr_mosi"'):
    configs.load("configs/mcr_mosi.py")


def test_a_file_of_this_name_comes_before_the_shipped(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / "mcr_mosi").mkdir()
  assert configs.load("mcr_mosi").model.width == 40
  (tmp_path / "mcr_mosei").write_text("")
  with refused("mcr_mosei"):
    configs.load("mcr_mosei")


def test_a_copy_of_the_folder_has_modules_of_its_own(tmp_path):
  (tmp_path / "configs").mkdir()
  (tmp_path / "configs/common.py").write_text("EPOCHS = 17")
  (tmp_path / "configs/mine.py").write_text(
    "from configs import common, mia_net_mosi as other\n"
    "def get_config():\n  return {'train': {'epochs': common.EPOCHS}}"
  )
  before = list(sys.path), {m for m in sys.modules if m.startswith("configs")}
  assert configs.load(str(tmp_path / "configs/mine.py")).train.epochs == 17
  assert configs.load("mia_net_mosi").train.epochs == 50
  assert before == (
    list(sys.path),
    {m for m in sys.modules if m.startswith("configs")},
  )


def test_json_round_trips_in_value_and_type(write):
  overrides = [
    "--config.optim.lr=1e-7",
    "--config.seeds=1",
    "--config.train.phases=[{'epochs': 1}]",
    "--config.optim.multipliers=[('a', 2.0)]",
  ]
  config = configs.load(write(FILE), overrides)
  back = configs.from_json(configs.to_json(config))
  assert back == config and back.is_locked
  # The representation tells (1,) from [1], and 1 from 1.0.
  assert repr(back.to_dict()) == repr(config.to_dict())
  for text in ("{", "[1]"):
    with pytest.raises(UserError, match="JSON"):
      configs.from_json(text)


def test_a_config_that_0_1_0_saved_becomes_one_of_today():
  text = (pathlib.Path(__file__).parent / "config_0_1_0.json").read_text()
  config = configs.saved(text, {})
  assert config.data.path == "synthetic" and config.data.align == ""
  assert config.loss.gamma == 0 and config.loss.weights.to_dict() == {"task": 1}
  assert config.model.scu is False and config.model.cmu is True
  # Nothing else has changed.
  before = configs.flatten(configs.from_json(text))
  same = {k: v for k, v in configs.flatten(config).items() if k in before}
  changed = {k for k, v in same.items() if v != before[k]}
  assert changed == {"data.path", "loss.gamma", *(f"model.{k}" for k in SWITCHES)}
  aligned = text.replace('"aligned": false', '"aligned": true')
  assert configs.saved(aligned, {}).data.align == "text"
  assert configs.saved(configs.to_json(config), {"format": 2}) == config


def test_cim_of_0_2_0_reads_no_modality_by_itself():
  config = configs.complete({"model": {"name": "cim"}})
  text = configs.to_json(config)
  assert configs.saved(text, {"format": 2}).model.unimodal is True
  before = json.loads(text)
  del before["model"]["unimodal"]
  found = configs.saved(json.dumps(before), {"format": 2})
  assert found.model.unimodal is False


def test_parameters_that_nothing_read_in_0_1_0_are_left_out():
  text = (pathlib.Path(__file__).parent / "config_0_1_0.json").read_text()
  config = configs.saved(text, {})
  layers = {"scu_text": 1, "join_text": 2}
  params = {"layers": layers, "head": 3}
  kept = {"layers": {"scu_text": 1}, "head": 3}
  assert not config.model.scu and configs.parameters(params, config, {}) == kept
  assert configs.parameters(params, config, {"format": 2}) == params
  assert configs.parameters(params, configs.default(), {}) == params


def test_a_difference_names_fields_and_values():
  a, b = configs.complete({}), configs.complete({"train": {"epochs": 50}})
  assert configs.difference(a, b) == ["train.epochs: 40 -> 50"]
  assert configs.difference(a, a) == []
  assert configs.difference({"x": 1}, {"x": 1.0, "y": 2}) == [
    "x: 1 -> 1.0",
    "y: absent -> 2",
  ]


def test_a_model_has_only_its_own_fields():
  assert "rank" in configs.complete({"model": {"name": "lmf"}}).model
  with refused("config.model", '"rank"'):
    configs.complete({"model": {"name": "mcr", "rank": 5}})
