import textwrap

import pytest

from mcr_jax import config as configs
from mcr_jax import fields
from mcr_jax.errors import UserError

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
  assert configs.load(path + ":quick").data.name == "synthetic"
  with pytest.raises(UserError, match="mine.py, line 9: .*'quik'; known: quick"):
    configs.load(path + ":quik")


def text_of(value) -> str:
  return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def test_every_default_can_be_given_on_the_command_line():
  config = configs.complete({})
  for path, value in fields.flatten(config).items():
    argument = f"--config.{path}={value if value == {} else text_of(value)}"
    assert configs.difference(config, configs.override(config, [argument])) == [], path


@pytest.mark.parametrize(
  ("argument", "path", "value"),
  [
    ("--config.train.epochs=7", "train.epochs", 7),
    ("--config.optim.lr=1", "optim.lr", 1.0),
    ("--config.data.aligned", "data.aligned", True),
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
    ("--config.model.targets=language", "model.targets", ("text",)),
    ("--config.model.kernels.acoustic=3", "model.kernels.audio", 3),
    ("--config.data.modalities=", "data.modalities", ()),
    ("--config.data.lengths.vision=9", "data.lengths.vision", 9),
    ("--config.model.width=20", "model.width", 20),
  ],
)
def test_an_override_has_the_type_of_its_field(argument, path, value):
  config = configs.override(configs.default(), [argument])
  found = fields.flatten(config)[path]
  assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
  ("argument", "words"),
  [
    ("--noconfig.train.epochs", "only what is True or False can be switched off"),
    ("--noconfig.data.trim=3", "what is switched off has no value"),
    ("--config.data.modalities=(text,audio", "brackets do not match"),
    ("--config.data.modalities=text]", "brackets do not match"),
    ("--config.evals.splits=test,test", "each once"),
    ("--config.data.lengths.text=99999999999", "from 1 to 2"),
  ],
)
def test_an_override_without_sense_is_refused(argument, words):
  with pytest.raises(UserError, match=words):
    configs.override(configs.default(), [argument])


def test_a_modality_has_one_name_in_all_fields():
  config = configs.complete(
    {"data": {"lengths": {"L": 9}, "align": "language"}, "model": {"kernels": {"v": 1}}}
  )
  assert config.data.lengths.to_dict() == {"text": 9} and config.data.align == "text"
  assert config.model.kernels.to_dict() == {"vision": 1}
  config = configs.override(config, ["--config.data.lengths.l=7"])
  assert config.data.lengths.to_dict() == {"text": 7}
  with pytest.raises(UserError, match="data.lengths names a modality twice: L, text"):
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
  assert "tfn has no model field channels" in note and note.count("\n") == 1
  file.write_text(text.replace("FIELD", "'chanels': 3"))
  with pytest.raises(UserError, match='no field "chanels"'):
    configs.load(str(file), ["--config.model.name=tfn"])
  file.write_text(text.replace("FIELD", ""))
  with pytest.raises(UserError, match='no field "channels"'):
    override = ["--config.model.name=tfn", "--config.model.channels=3"]
    configs.load(str(file), override)


def test_the_last_override_wins():
  overrides = [
    "--config.seeds=1,2", "--config.train.epochs=9", "--config.seeds=3",
  ]  # fmt: skip
  config = configs.override(configs.default(), overrides)
  assert config.seeds == (3,) and config.train.epochs == 9


@pytest.mark.parametrize(
  ("argument", "message"),
  [
    ("--config.train.epoch=3", 'config.train has no field "epoch". .*"epochs"'),
    ("--config.trian.epochs=3", 'config has no field "trian". .*"train"'),
    ("--config.model.widht=3", 'config.model has no field "widht". .*"width"'),
    ("--config.train.lr=3", "Did you mean optim.lr"),
    ("--config.train.epochs=x", "train.epochs must be int .*40.*not 'x'"),
    ("--config.train.epochs=1.5", "train.epochs must be int"),
    ("--config.data.trim=maybe", "data.trim must be bool .*'maybe'"),
    ("--config.train.epochs", "no value: write --config.train.epochs=VALUE"),
    ("--config.train=3", "is a group: set one of its fields"),
    ("--config.train.epochs.more=3", "train.epochs is a value, not a group"),
    ("--config.seeds[0]=3", 'no field "seeds\\[0\\]"'),
    ("--config.data.lengths=3", "data.lengths must be dict"),
    ("config.train.epochs=3", "not of the form --config.group.field=value"),
    ("--config.model.name=mrc", "mcr"),
  ],
)
def test_a_wrong_override_is_one_clear_error(argument, message):
  with pytest.raises(UserError, match=message) as caught:
    configs.override(configs.default(), [argument])
  assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
  ("values", "message"),
  [
    ({"train": {"epoch": 3}}, '"epochs".* Known fields: epochs, batch_size'),
    ({"train": {"epochs": 3.0}}, r"train.epochs must be int .*, not float 3\.0"),
    ({"train": {"epochs": True}}, "train.epochs must be int .*, not bool True"),
    ({"train": 3}, "train must be a dict, not int 3"),
    ({"optim": {"name": "adma"}}, "'adma' must be one of .*\"adam\""),
    ({"optim": {"lr": 0.0}}, r"optim.lr=0.0 must lie in \(0, inf\)"),
    ({"optim": {"lr": float("nan")}}, "optim.lr=nan must lie"),
    ({"loss": {"gamma": 1.1}}, r"loss.gamma=1.1 must lie in \[0, 1\]"),
    ({"data": {"lengths": {"text": 0}}}, "data.lengths.text=0 must be an integer"),
    ({"data": {"modalities": ("a", "a")}}, "must be different names"),
    ({"seeds": ()}, r"seeds=\(\) must be one or more"),
    ({"seeds": (1, 1)}, "must differ"),
    ({"mesh": {"seed": -1}}, "cannot both be -1"),
    ({"mesh": {"data": 0}}, "mesh.data=0 must be 1 or more"),
    ({"evals": {"splits": ("dev",)}}, "'dev'.* must be taken from"),
    ({"model": {"name": 3}}, "model.name must be str, not int 3"),
    ({"data": {"features": {"text": 3}}}, "data.features.text=3 must be the name"),
  ],
)
def test_a_wrong_config_is_one_clear_error(values, message):
  with pytest.raises(UserError, match=message):
    configs.complete(values)


@pytest.mark.parametrize(
  ("name", "field", "value", "message"),
  [
    ("mcr", "kernel", 0, r"must lie in \[1, inf\)"),
    ("mcr", "kernels", {"text": 0}, "kernels.text=0 must be an integer from 1"),
    ("mcr", "kernels", {"text": "foo"}, "kernels.text='foo' must be an integer"),
    ("mcr", "kernels", {"text": True}, "kernels.text=True must be an integer"),
    ("mcr", "targets", ("text", "text"), "must be different names"),
    ("mcr", "targets", ("",), "must be different names"),
    ("mcr", "dtype", "bfloat17", 'must be one of .*Did you mean "bfloat16"'),
    ("mcr", "dtype", "int32", "must be one of .*float32"),
    ("mcr", "width", 0, r"must lie in \[1, inf\)"),
    ("mcr", "width", -4, r"must lie in \[1, inf\)"),
    *[("mcr", f, 0, "must lie in") for f in ("heads", "cmu_heads", "num_layers")],
    ("mcr", "encoder_layers", -1, "must lie in"),
    ("mcr", "embed_dropout", 1.0, r"must lie in \[0, 1\)"),
    ("mcr", "attention_dropout", -0.1, r"must lie in \[0, 1\)"),
    ("mcr", "residual_dropout", float("nan"), r"must lie in \[0, 1\)"),
    *[("mult", f, 0, "must lie in") for f in ("width", "heads", "layers", "kernel")],
    ("mult", "self_layers", -1, r"must lie in \[0, inf\)"),
    ("mult", "kernels", {"audio": 1.5}, "kernels.audio=1.5 must be an integer"),
    ("mult", "relu_dropout", 1.5, r"must lie in \[0, 1\)"),
    ("mia_net", "channels", 0, "must lie in"),
    ("mia_net", "kernel_size", 0, "must lie in"),
    ("mia_net", "column_scale", float("nan"), r"must lie in \(-inf, inf\)"),
    ("mia_net", "auxiliaries", ("audio", "audio"), "must be different names"),
    ("concat", "width", 0, "must lie in"),
    ("concat", "depth", -1, r"must lie in \[0, inf\)"),
    ("concat", "dtype", "float8", "must be one of"),
    ("tfn", "width", -1, r"must lie in \[0, inf\)"),
    ("tfn", "hidden", 0, "must lie in"),
    ("lmf", "rank", 0, "must lie in"),
    ("cim", "positions", 0, "must lie in"),
    ("mha", "heads", 0, "must lie in"),
    ("transformer", "dropout", 1.0, r"must lie in \[0, 1\)"),
    ("ct", "width", 0, "must lie in"),
  ],
)
def test_a_number_that_no_model_can_have_is_one_clear_error(
  name, field, value, message
):
  with pytest.raises(UserError, match=message) as caught:
    configs.complete({"model": {"name": name, field: value}})
  assert str(caught.value).startswith(f"model.{field}")


def test_what_a_model_can_do_without_may_be_0():
  for name, field in (path.split(".") for path in fields.MAY_BE_0):
    configs.complete({"model": {"name": name, field: 0}})


def test_every_default_has_a_type_and_is_a_value_that_may_be_given():
  from mcr_jax import models

  for name in models.NAMES:
    config = configs.complete({"model": {"name": name}})
    assert None not in fields.flatten(config).values(), name


def test_integers_serve_as_floats_and_lists_as_tuples():
  config = configs.complete({"optim": {"lr": 1}, "seeds": [1, 2]})
  assert type(config.optim.lr) is float and config.seeds == (1, 2)


def test_every_range_and_choice_has_a_field_that_satisfies_it():
  flat = fields.flatten(fields.GROUPS)
  assert {*fields.RANGES, *fields.CHOICES} <= set(flat)


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("x = 1", "has no function get_config"),
    ("def get_config(:", "line 1: SyntaxError"),
    ("def get_config():\n  return 1 / 0", "line 2: ZeroDivisionError"),
    ("import numpi", "line 1: ModuleNotFoundError"),
    ("def get_config():\n  return 3", "must return a ConfigDict, not 3"),
    ("def get_config():\n  return dict(trian={})", "mine.py: .*trian"),
  ],
)
def test_a_broken_file_is_named(write, text, message):
  with pytest.raises(UserError, match=message) as caught:
    configs.load(write(text))
  assert "mine.py" in str(caught.value)


def test_a_missing_file_is_answered_with_the_nearest(write):
  path = write(FILE)
  with pytest.raises(UserError, match='mina.py does not exist. .*"mine.py"'):
    configs.load(path.replace("mine", "mina") + ":quick")
  with pytest.raises(UserError, match="is a folder"):
    configs.load(path.replace("mine.py", ""))


def test_loading_a_file_leaves_the_import_path_alone(write):
  import sys

  before = list(sys.path)
  configs.load(write(FILE))
  assert sys.path == before


def test_json_round_trips_in_value_and_type(write):
  config = configs.load(write(FILE), ["--config.optim.lr=1e-7", "--config.seeds=1"])
  back = configs.from_json(configs.to_json(config))
  assert back == config and back.is_locked
  # The representation tells (1,) from [1], and 1 from 1.0.
  assert repr(back.to_dict()) == repr(config.to_dict())
  with pytest.raises(UserError, match="not the JSON text"):
    configs.from_json("{")
  with pytest.raises(UserError, match="JSON object"):
    configs.from_json("[1]")


def test_a_difference_names_fields_and_values():
  a, b = configs.complete({}), configs.complete({"train": {"epochs": 50}})
  assert configs.difference(a, b) == ["train.epochs: 40 -> 50"]
  assert configs.difference(a, a) == []
  assert configs.difference({"x": 1}, {"x": 1.0, "y": 2}) == [
    "x: 1 -> 1.0",
    "y: absent -> 2",
  ]


def test_a_model_has_only_its_own_fields(monkeypatch):
  from mcr_jax import models

  own = lambda name: {"rank": 4} if name == "other" else {"width": 40}
  monkeypatch.setattr(models, "fields", own)
  config = configs.complete({"model": {"name": "other", "rank": 5}})
  assert config.model.to_dict() == {"name": "other", "rank": 5}
  with pytest.raises(UserError, match='config.model has no field "width"'):
    configs.complete({"model": {"name": "other", "width": 5}})
