"""A model that is tried: on five small samples with holes, in double precision.

What a check costs is compiling, so two programs serve all of them: one that learns, and
one that predicts for two seeds side by side from the same samples with more padding.
"""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.interpreters import partial_eval

from mcr_jax import models
from mcr_jax.contract import Batch, Model, Output, Spec
from mcr_jax.errors import UserError
from mcr_jax.training.keys import fast_key

# Different primes, so that no two axes can be taken for each other, and in an order
# that is not that of the alphabet.
WIDTHS = {"text": 7, "audio": 3, "vision": 2, "gaze": 5, "touch": 11}
LENGTHS = {"text": 5, "audio": 7, "vision": 3, "gaze": 4, "touch": 6}
ALIGNED = 5
SAMPLES, TURNS = 5, 5


class Broken(Exception):
  """A promise that a model does not keep, in one sentence."""


class Traced(NamedTuple):
  """What a model makes of an example in single precision, as shapes."""

  program: str
  variables: Any
  output: Output


class Subject:
  """A model, a batch for it, and its programs.

  Attributes:
    kind: class of the model.
    fields: of it that are not the default.
    aligned: whether it takes sequences of one length alone.
    count: how many modalities; two are cheapest to compile.
    batch: what is predicted, every sequence with a step of padding at its end.
    short: the same samples without that step, which are learnt.
    rates: fields that may be traced numbers.
  """

  def __init__(self, kind: type[Model], **fields: Any):
    """Raises UserError where the fields do not go together."""
    self.kind, self.fields = kind, fields
    fewest, most = kind.card.modalities
    self.count = max(fewest, 2 if most is None else min(2, most))
    domains = models.domains(kind)
    self.rates = tuple(name for name, domain in domains.items() if domain.sweep)
    self._traced: dict[tuple, Traced] = {}
    self.aligned = self._needs_one_length()
    self.spec = self.spec_of(self.count)
    self.model = self.build(self.spec)
    self.batch = make_batch(self.spec)
    self.short = shortened(self.batch)

  def _needs_one_length(self) -> bool:
    """Whether the model refuses sequences of different lengths, as some may."""
    for self.aligned in (False, True):
      try:
        self.trace()
        break
      except UserError:
        if self.aligned:
          raise
      except Exception:  # which the checks will report
        break
    return self.aligned

  def spec_of(self, count: int, outputs: tuple[int, ...] = (1,)) -> Spec:
    """The spec of `count` modalities."""
    names = list(WIDTHS)[:count]
    dialogue = self.kind.card.unit == "dialogue"
    return Spec(
      {m: ALIGNED if self.aligned else LENGTHS[m] for m in names},
      {m: WIDTHS[m] for m in names},
      outputs,
      unit=self.kind.card.unit,
      turns=TURNS if dialogue else 1,
      columns=("index", "speaker", "turn") if dialogue else ("index",),
      samples=SAMPLES * (TURNS if dialogue else 1),
    )

  def build(self, spec: Spec, **fields: Any) -> Model:
    """The model for a spec, with its own fields and some others."""
    return models.build(self.kind, spec, **{**self.fields, **fields})

  def trace(
    self,
    count: int = 0,
    outputs: tuple[int, ...] = (1,),
    *,
    train: bool = False,
    order: tuple[str, ...] = (),
    dtype: str = "",
  ) -> Traced:
    """A model on an example, whose modalities come in some order."""
    key = (count or self.count, outputs, train, order, dtype)
    if key not in self._traced:
      fields = {"dtype": dtype} if dtype else {}
      model = self.build(self.spec_of(key[0], outputs), **fields)
      self._traced[key] = _traced(model, train, order or model.modalities)
    return self._traced[key]

  @functools.cached_property
  def first(self) -> Any:
    """Variables as the model draws them, in double precision."""
    # All this is for compiling: a key that takes no loop to derive others from, known
    # to the compiler, and single precision.
    with jax.enable_x64(False):
      key = fast_key(jax.random.key(0))
      found = jax.jit(lambda batch: self.model.init(key, batch))(
        _cast(self.batch, "f4")
      )
    return _cast(found, "f8")

  @functools.cached_property
  def variables(self) -> Any:
    """The same with parameters that are nowhere zero."""
    random = np.random.default_rng(1)
    move = lambda x: x + 0.3 * random.normal(size=x.shape)
    return {**self.first, "params": jax.tree.map(move, self.first["params"])}

  def predict(self, batch: Batch, other: float = 0.5) -> Output:
    """What a trained model gives, beside a seed with `other` times its weights."""
    both = jax.tree.map(lambda x: np.stack([x, other * x]), self.variables)
    return jax.tree.map(lambda x: np.asarray(x)[0], self._predict(both, batch))

  @functools.cached_property
  def _predict(self):
    return jax.jit(jax.vmap(self.model.apply, in_axes=(0, None)))

  def learn(self, batch: Batch, variables: Any = None, key: int = 0):
    """(total of all losses, gradient, output) of a step of training, without dropout.

    The total is of averages over the rows that count: of the squared error and of what
    the model adds, with the weights of its card.
    """
    return self._learned(batch, variables, key)[:3]

  def after(self, batch: Batch, steps: int) -> Any:
    """Variables after some steps in which the parameters stay as they are."""
    variables = self.variables
    for _ in range(steps):
      state = self._learned(batch, variables)[3]
      variables = {**state, "params": variables["params"]}
    return variables

  def _learned(self, batch, variables=None, key=0):
    variables = self.variables if variables is None else variables
    found = self._learn(variables, batch, jax.random.key(key))
    return jax.tree.map(np.asarray, found)

  @functools.cached_property
  def _learn(self):
    # With dropout the program would be thrice as long, and so would compiling it.
    model = self.model.clone(**dict.fromkeys(self.rates, 0.0))

    def total(params, state, batch, key):
      output, updated = model.apply(
        {"params": params, **state},
        batch,
        train=True,
        rngs={"dropout": fast_key(key), "noise": fast_key(jax.random.fold_in(key, 1))},
        mutable=list(state),
      )
      return sum(self.losses(output, batch).values()), (output, updated)

    def learn(variables, batch, key):
      state = {name: x for name, x in variables.items() if name != "params"}
      (value, (output, updated)), gradient = jax.value_and_grad(total, has_aux=True)(
        variables["params"], state, batch, key
      )
      return value, gradient, output, updated

    return jax.jit(learn)

  def read_by_predictions(self, *, train: bool) -> set[str]:
    """Which of `key` and the rates, all of them traced, predictions depend on."""
    names = ("key", *self.rates)

    def run(key, rates, variables, batch):
      model = self.model.clone(**dict(zip(self.rates, rates, strict=True)))
      state = [name for name in variables if name != "params"]
      rngs = {"dropout": key, "noise": key}
      output, _ = model.apply(variables, batch, train=train, rngs=rngs, mutable=state)
      return output.predictions

    rates = [0.5] * len(self.rates)
    arguments = self.trace().variables, self.spec.example(SAMPLES)
    with jax.enable_x64(False):
      program = jax.make_jaxpr(run)(jax.random.key(0), rates, *arguments)
    _, used = partial_eval.dce_jaxpr(program.jaxpr, [True])
    return {name for name, read in zip(names, used, strict=False) if read}

  def losses(self, output: Output, batch: Batch) -> dict[str, Any]:
    """Every loss with its weight, averaged over the rows that count."""
    counts, card = batch.weight > 0, self.kind.card

    def mean(values):
      if values.ndim == 0:
        return values
      return jnp.where(counts, values, 0).sum() / counts.sum()

    error = lambda y: jnp.square(y[..., 0] - batch.label)
    found = {"task": mean(error(output.predictions))}
    found |= {f"head {m}": mean(error(y)) for m, y in output.auxiliary.items()}
    weigh = lambda name: card.weights.get(name, 1.0)
    return found | {n: weigh(n) * mean(values) for n, values in output.losses.items()}


def _traced(model: Model, train: bool, order: tuple[str, ...]) -> Traced:
  def run(batch):
    # Built in here: dicts come sorted through the door of a program.
    parts = ({m: x[m] for m in order} for x in (batch.x, batch.mask))
    batch = batch.replace(**dict(zip(("x", "mask"), parts, strict=True)))
    rngs = dict.fromkeys(("params", "dropout", "noise"), jax.random.key(0))
    return model.init_with_output(rngs, batch, train=train)

  with jax.enable_x64(False):
    trace = jax.make_jaxpr(run, return_shape=True)
    program, (output, variables) = trace(model.spec.example(SAMPLES))
  return Traced(str(program), variables, output)


def make_batch(spec: Spec, seed: int = 0) -> Batch:
  """Samples of different lengths with holes; the last step is padding in all of them.

  The first sample is whole, the last but one lacks the first modality, and the last
  only fills the batch up. The first turn of every dialogue has no label.
  """
  random = np.random.default_rng(seed)
  shapes = spec.example(SAMPLES)
  units = shapes.weight.shape
  turn = _real_steps(random, units[-1]) if spec.unit == "dialogue" else None
  x = {m: random.normal(size=shape.shape) for m, shape in shapes.x.items()}
  mask = {}
  for m, shape in shapes.mask.items():
    real = _real_steps(random, shape.shape[1]) if turn is None else turn
    mask[m] = real & (random.random(real.shape) < 0.8)
    mask[m][0] = real[0]
    mask[m][:, 0] = True
  mask[spec.modalities[0]][-2] = False
  weight = np.ones(units) if turn is None else turn.astype(float)
  weight[-1] = 0.0
  rows = np.arange(math.prod(units), dtype=np.int32).reshape(units)
  more = {"index": rows}
  if turn is not None:
    weight[:, 0] = 0.0
    more |= {"turn": turn, "speaker": np.where(turn, rows % 2, -1)}
  return Batch(x, mask, weight, random.normal(size=units), more)


def shortened(batch: Batch) -> Batch:
  """Without the last step of every sequence, or the last turn of every dialogue."""
  cut = lambda x: x[:, :-1]
  if "turn" in batch.more:
    return jax.tree.map(cut, batch)
  return batch.replace(x=jax.tree.map(cut, batch.x), mask=jax.tree.map(cut, batch.mask))


def _real_steps(random: np.random.Generator, steps: int) -> np.ndarray:
  """(B, T) of which the last column is False, and the first row else True."""
  ends = random.integers(1, steps, size=(SAMPLES, 1))
  ends[0] = steps - 1
  return np.arange(steps) < ends


def _cast(tree: Any, kind: str) -> Any:
  """Every array of numbers that are not whole in another precision."""
  cast = lambda x: np.asarray(x, kind if x.dtype.kind == "f" else x.dtype)
  return jax.tree.map(cast, tree)


def by_path(variables: Any) -> dict[str, Any]:
  """The parameters by path, a/b/c."""
  leaves = jax.tree_util.tree_leaves_with_path(variables["params"])
  return {"/".join(str(part.key) for part in path): leaf for path, leaf in leaves}
