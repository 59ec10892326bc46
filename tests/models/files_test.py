"""A model in a file of one's own, and the program that lists and checks models."""

import jax
import pytest

from mcr_jax import config, models
from mcr_jax.contract import Spec
from mcr_jax.errors import UserError
from mcr_jax.models.__main__ import main
from mcr_jax.runs import inputs, own_model

GOOD = """
import flax.linen as nn
import jax.numpy as jnp

from mcr_jax import contract
from mcr_jax.contract import Card, Output
from mcr_jax.field import field
from mcr_jax.ops import pooling


class Model(contract.Model):
  card = Card("Mine")
  width: int = field(8, low=1, doc="Of the layer.")

  @nn.compact
  def __call__(self, batch, *, train=False):
    vectors = [pooling.mean(batch.x[m], batch.mask[m]) for m in self.modalities]
    x = nn.relu(nn.Dense(self.width)(jnp.concatenate(vectors, -1)))
    size = 1
    for n in self.outputs:
      size *= n
    return Output(nn.Dense(size, name="output")(x).reshape(-1, *self.outputs))
"""
SPEC = Spec({"text": 3}, {"text": 5})


def write(folder, text, name="mine.py"):
  path = folder / name
  path.write_text(text)
  return path


def test_a_config_takes_a_model_from_a_file(tmp_path):
  path = str(write(tmp_path, GOOD))
  found = config.complete({"model": {"file": path, "width": 5}})
  model = inputs.build_model(found, SPEC)
  assert model.width == 5 and model.card.title == "Mine"
  with pytest.raises(UserError, match="model.width=0"):
    config.complete({"model": {"file": path, "width": 0}})


def test_a_file_is_one_class_until_it_changes(tmp_path):
  path = write(tmp_path, GOOD)
  first = models.load_file(path)
  assert models.load_file(path) is first
  write(tmp_path, GOOD.replace("field(8", "field(9"))
  assert models.fields(models.load_file(path)) == {"width": 9}
  assert models.fields(first) == {"width": 8}


@pytest.mark.parametrize(
  "text, words",
  [
    ("def", "SyntaxError"),
    ("import no_such_thing", "ModuleNotFoundError.*no_such_thing"),
    ("1 / 0", "ZeroDivisionError"),
    ("raise SystemExit(3)", "SystemExit"),
    ("x = 1", "class Model"),
    ("class Model:\n  pass", "class Model"),
    ("from mcr_jax.contract import Model", "card"),
    (GOOD.replace('  card = Card("Mine")\n', ""), "card"),
    (GOOD.replace('Card("Mine")', 'Card("Mine", kind="own")'), "card.kind='own'"),
    (GOOD.replace("width", "file"), "field 'file'"),
    (GOOD.replace('field(8, low=1, doc="Of the layer.")', "field()"), "'width'"),
  ],
)
def test_a_file_without_a_model_is_named(text, words, tmp_path):
  path = write(tmp_path, text)
  with pytest.raises(UserError, match=f"mine.py.*{words}") as told:
    models.load_file(path)
  assert "\n" not in str(told.value)


@pytest.mark.parametrize("name", ["absent.py", ""])
def test_what_is_no_file_is_named(name, tmp_path):
  with pytest.raises(UserError, match="model.file="):
    models.load_file(tmp_path / name)


def test_a_file_that_is_no_python_is_named(tmp_path):
  with pytest.raises(UserError, match="mine.txt"):
    models.load_file(write(tmp_path, GOOD, "mine.txt"))


def test_what_does_not_fit_the_data_is_refused():
  with pytest.raises(UserError, match="model.name='conact'.*concat"):
    models.build("conact", SPEC)
  with pytest.raises(UserError, match="'widht'.*width"):
    models.build("concat", SPEC, widht=3)
  with pytest.raises(UserError, match="dialogue"):
    models.build("concat", Spec({"text": 1}, unit="dialogue", turns=4))
  with pytest.raises(UserError, match="model.kernels='audio'"):
    models.build("mcr", SPEC, kernels={"audio": 3})


def test_the_list_has_every_model_and_its_size(monkeypatch, capsys):
  monkeypatch.setattr(models, "names", lambda: ("concat", "mcr", "mia_net"))
  main([])
  shown = capsys.readouterr().out
  lines = {line.split()[0]: line for line in shown.splitlines() if line[:1].islower()}
  assert set(lines) == {"name", *models.names()}
  assert lines["mcr"].endswith("750,199") and lines["mia_net"].endswith("726,181")
  assert "Knowledge-Based Systems" in shown


def test_a_file_is_held_to_the_contract(tmp_path, capsys):
  path = write(tmp_path, GOOD)
  main(["check", str(path), "width=4"])
  shown = capsys.readouterr().out
  assert "kept" in shown and "BROKEN" not in shown
  bad = GOOD.replace("pooling.mean(batch.x[m], batch.mask[m])", "batch.x[m].mean(1)")
  with pytest.raises(UserError, match="breaks .* of .* promises"):
    main(["check", str(write(tmp_path, bad))])
  assert "BROKEN" in capsys.readouterr().out
  with pytest.raises(UserError, match="width"):
    main(["check", str(path), "width"])


def test_an_error_of_a_model_file_is_told_with_its_line(tmp_path):
  path = str(write(tmp_path, GOOD.replace("size = 1", "size = 1 / 0")))
  model = inputs.build_model(config.complete({"model": {"file": path}}), SPEC)
  init = lambda: jax.eval_shape(model.init, jax.random.key(0), SPEC.example())
  line = 1 + GOOD.partition("size = 1")[0].count("\n")
  with pytest.raises(UserError, match=f"mine.py, line {line}: ZeroDivisionError"):
    with own_model.told(path):
      init()
  with pytest.raises(ZeroDivisionError), own_model.told(""):
    init()


def test_a_field_of_a_checked_file_has_its_type(tmp_path):
  path = str(write(tmp_path, GOOD))
  with pytest.raises(UserError, match="model.width='a'"):
    main(["check", path, "width=a"])
