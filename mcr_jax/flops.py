"""Floating-point operations of a function, counted on its jaxpr.

Matrix products and convolutions count, as two operations a multiply-add; nothing else
does (a softmax or a norm is bound by memory, and papers leave it out). A loop body
counts as often as it runs, a conditional as its dearest branch, and what no output
needs counts nothing, because the compiler removes it. XLA's own `cost_analysis` is no
substitute: it counts a loop body once and the operations that fusion adds.

  counts = count_model(model, variables, batch)
  print(counts.multiply_adds, counts.table())
"""

import dataclasses
import itertools
import math
import re
from collections.abc import Callable
from typing import Any

import jax

from mcr_jax.contract import Batch, Model

# Where a primitive keeps the program that it calls, one argument for one argument.
CALLED = ("jaxpr", "call_jaxpr", "fun_jaxpr")
# Kernels whose inside a jaxpr does not show.
OPAQUE = ("ffi_call", "custom_call", "dot_product_attention", "ragged_dot", "bass_call")
RECOMPUTED = "rematted_computation"


@dataclasses.dataclass
class Counts:
  """What a function costs.

  Fields:
    flops: all operations, two a multiply-add.
    recomputed: the part of them that a backward pass repeats to save memory.
    scopes: operations by scope, `module/submodule`; forward and backward together.
    open_loops: while loops, whose bodies are counted once for want of a trip count.
    uncounted: kernels that a jaxpr does not show, by name.
  """

  flops: int = 0
  recomputed: int = 0
  scopes: dict[str, int] = dataclasses.field(default_factory=dict)
  open_loops: int = 0
  uncounted: set[str] = dataclasses.field(default_factory=set)

  @property
  def multiply_adds(self) -> int:
    return self.flops // 2

  def by_module(self, depth: int = 1) -> dict[str, int]:
    """Operations by the first `depth` names of their scopes, dearest first."""
    table: dict[str, int] = {}
    for scope, flops in self.scopes.items():
      name = "/".join(scope.split("/")[:depth]) or "(outside)"
      table[name] = table.get(name, 0) + flops
    return dict(sorted(table.items(), key=lambda row: -row[1]))

  def table(self, depth: int = 1) -> str:
    """One line a module: operations in millions, and their share."""
    rows = self.by_module(depth)
    wide = max(map(len, ("module", *rows)))
    lines = [f"{'module':{wide}}  {'MFLOP':>12}  share"]
    for name, flops in rows.items():
      share = flops / max(1, self.flops)
      lines.append(f"{name:{wide}}  {flops / 1e6:12,.3f}  {share:5.1%}")
    return "\n".join(lines)

  def add(self, flops: int, scope: str, times: int):
    self.flops += times * flops
    self.recomputed += times * flops if RECOMPUTED in scope.split("/") else 0
    scope = _plain(scope)
    self.scopes[scope] = self.scopes.get(scope, 0) + times * flops

  def merge(self, other: "Counts"):
    self.flops += other.flops
    self.recomputed += other.recomputed
    self.open_loops += other.open_loops
    self.uncounted |= other.uncounted
    for scope, flops in other.scopes.items():
      self.scopes[scope] = self.scopes.get(scope, 0) + flops


def count(fn: Callable, *args: Any) -> Counts:
  """Counts `fn(*args)`; arguments may be arrays or `jax.ShapeDtypeStruct`s."""
  jaxpr = jax.make_jaxpr(fn)(*args).jaxpr
  counts = Counts()
  _walk(jaxpr, [True] * len(jaxpr.outvars), counts, "", 1)
  return counts


def count_model(model: Model, variables: Any, batch: Batch) -> Counts:
  """A model's predictions for one batch; its scopes without the model's own name.

  A model that has a choice of attention is counted on the literal one, as are those of
  the next function: what an implementation does besides is not the model's.
  """
  model = _literal(model)
  counts = count(lambda v, b: model.apply(v, b).predictions, variables, batch)
  return _without_root(counts, type(model).__name__)


def count_training(model: Model, variables: Any, batch: Batch) -> Counts:
  """Predictions, losses of the model and all gradients, for one batch.

  What is computed again in the backward pass is in `flops`, and alone in `recomputed`.
  """
  model = _literal(model)
  state = {name: tree for name, tree in variables.items() if name != "params"}

  def loss(params, state, batch):
    output, _ = model.apply(
      {"params": params, **state},
      batch,
      train=True,
      rngs={"dropout": jax.random.key(0)},
      mutable=list(state),
    )
    return output.predictions.sum() + sum(x.sum() for x in output.losses.values())

  counts = count(jax.value_and_grad(loss), variables["params"], state, batch)
  return _without_root(counts, type(model).__name__)


def _literal(model: Model) -> Model:
  return model.clone(attention="literal") if hasattr(model, "attention") else model


def parameters(tree: Any, depth: int = 0) -> int | dict[str, int]:
  """How many numbers a parameter tree holds, in all or by the names of its branches."""
  if not depth:
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))
  return {name: parameters(branch) for name, branch in tree.items()}


def _walk(jaxpr, used, counts, scope, times) -> list[bool]:
  """Adds up what the used outputs need; answers which inputs that is."""
  live = {v for v, use in zip(jaxpr.outvars, used, strict=True) if use and _is_var(v)}
  for eqn in reversed(jaxpr.eqns):
    outs = [v in live for v in eqn.outvars]
    if not any(outs) and not eqn.effects:
      continue
    inner = "/".join(filter(None, (scope, str(eqn.source_info.name_stack))))
    needs = _visit(eqn, outs, counts, inner, times)
    for variable, need in zip(eqn.invars, needs, strict=True):
      if need and _is_var(variable):
        live.add(variable)
  return [v in live for v in jaxpr.invars]


def _visit(eqn, outs, counts, scope, times) -> list[bool]:
  """One equation; answers which of its inputs the used outputs need."""
  name, everything = eqn.primitive.name, [True] * len(eqn.invars)
  if name == "dot_general":
    counts.add(_dot(eqn), scope, times)
  elif name == "conv_general_dilated":
    counts.add(_convolution(eqn), scope, times)
  elif name == "scan":
    return _scan(eqn, outs, counts, scope, times)
  elif name == "while":
    counts.open_loops += 1
    for part in ("cond_jaxpr", "body_jaxpr"):
      _walk_all(eqn.params[part], counts, scope, times)
  elif name == "cond":
    return _conditional(eqn, outs, counts, scope, times)
  elif any(opaque in name for opaque in OPAQUE):
    counts.uncounted.add(name)
  else:
    return _call(eqn, outs, counts, scope, times)
  return everything


def _call(eqn, outs, counts, scope, times) -> list[bool]:
  if eqn.primitive.name == "pallas_call":
    times *= math.prod(d for d in eqn.params["grid_mapping"].grid if isinstance(d, int))
  if eqn.primitive.name == "shard_map":
    mesh = eqn.params["mesh"]
    axes = eqn.params.get("manual_axes", mesh.axis_names)
    times *= math.prod(mesh.shape[axis] for axis in axes)
  for key in CALLED:
    body = _jaxpr(eqn.params.get(key))
    if (
      body is not None
      and len(body.invars) == len(eqn.invars)
      and len(body.outvars) == len(outs)
    ):
      return _walk(body, outs, counts, scope, times)
  for value in eqn.params.values():
    for part in value if isinstance(value, tuple | list) else (value,):
      if _jaxpr(part) is not None:
        _walk_all(part, counts, scope, times)
  return [True] * len(eqn.invars)


def _scan(eqn, outs, counts, scope, times) -> list[bool]:
  body, length = _jaxpr(eqn.params["jaxpr"]), eqn.params["length"]
  consts, carried = _scan_sizes(eqn.params)
  carry = outs[:carried]
  while True:
    needs = _walk(body, carry + outs[carried:], Counts(), scope, 1)
    # What one step needs of the carry, the step before it has to give.
    wider = list(map(any, zip(carry, needs[consts:][:carried], strict=True)))
    if wider == carry:
      break
    carry = wider
  _walk(body, carry + outs[carried:], counts, scope, times * length)
  return needs[:consts] + wider + needs[consts + carried :]


def _scan_sizes(params) -> tuple[int, int]:
  """How many inputs of a scan stay, and how many it carries."""
  if "ft_in" in params:  # since JAX 0.12
    consts, carry, _ = params["ft_in"].unpack()
    return len(consts), len(carry)
  return params["num_consts"], params["num_carry"]


def _conditional(eqn, outs, counts, scope, times) -> list[bool]:
  dearest, needs = Counts(), [False] * (len(eqn.invars) - 1)
  for branch in eqn.params["branches"]:
    own = Counts()
    used = _walk(_jaxpr(branch), outs, own, scope, times)
    needs = list(map(any, zip(needs, used, strict=True)))
    dearest = max(dearest, own, key=lambda counts: counts.flops)
  counts.merge(dearest)
  return [True, *needs]


def _walk_all(jaxpr, counts, scope, times):
  body = _jaxpr(jaxpr)
  _walk(body, [True] * len(body.outvars), counts, scope, times)


def _dot(eqn) -> int:
  (contracted, _), _ = eqn.params["dimension_numbers"]
  depth = math.prod(eqn.invars[0].aval.shape[axis] for axis in contracted)
  return 2 * math.prod(eqn.outvars[0].aval.shape) * depth


def _convolution(eqn) -> int:
  kernel = eqn.invars[1].aval.shape
  outputs = kernel[eqn.params["dimension_numbers"].rhs_spec[0]]
  # Products with the zeros that a dilated input holds are never made.
  zeros = math.prod(eqn.params["lhs_dilation"])
  terms = math.prod(kernel) // outputs
  return 2 * math.prod(eqn.outvars[0].aval.shape) * terms // zeros


def _jaxpr(value):
  """The jaxpr of a parameter, open or closed; None if it is something else."""
  if hasattr(value, "eqns"):
    return value
  inner = getattr(value, "jaxpr", None)
  return inner if hasattr(inner, "eqns") else None


def _is_var(variable) -> bool:
  return not hasattr(variable, "val")


def _plain(scope: str) -> str:
  """The modules of a scope: transpose(jvp(A))/A.method/b/ij,jk->ik is A/b."""
  while (bare := re.sub(r"\b\w+\(([^()]*)\)", r"\1", scope)) != scope:
    scope = bare
  marks = re.compile(rf"|{RECOMPUTED}|checkpoint|\w+\.\w+|.*->.*")
  names = [name for name in scope.split("/") if not marks.fullmatch(name)]
  return "/".join(name for name, _ in itertools.groupby(names))


def _without_root(counts: Counts, root: str) -> Counts:
  scopes: dict[str, int] = {}
  for scope, flops in counts.scopes.items():
    name = scope.removeprefix(root).removeprefix("/")
    scopes[name] = scopes.get(name, 0) + flops
  return dataclasses.replace(counts, scopes=scopes)
