"""The optimiser of a config, without its learning rate.

The learning rate is a number of the training state, not of the program: it is
multiplied in by the step, so that one program serves a plateau and a sweep.
"""

import functools
import re

import jax
import jax.numpy as jnp
import optax

# Elements from which an array is treated on its own.
LARGE = 1 << 16


def transform(optim, weight_decay, undecayed: str) -> optax.GradientTransformation:
  """Clipping, then Adam or AdamW.

  `adam` adds the decay to the gradient (L2, as in PyTorch's Adam), `adamw` to the
  update (decoupled).

  Args:
    optim: group of the config.
    weight_decay: may be a traced scalar.
    undecayed: pattern of the parameters that it leaves alone, see `contract.Card`.
  """
  clips = {"norm": optax.clip_by_global_norm, "value": optax.clip}
  clip = [clips[optim.clip_by](optim.clip)] * (optim.clip > 0)
  adam = optax.scale_by_adam(optim.b1, optim.b2, optim.eps)
  if isinstance(weight_decay, int | float) and weight_decay == 0:
    return packed(optax.chain(*clip, adam))
  # Which arrays decay goes by their names, so that no step around it can pack them.
  decay = optax.add_decayed_weights(
    weight_decay, mask=functools.partial(_decayed, undecayed)
  )
  if optim.name == "adamw":
    return optax.chain(packed(optax.chain(*clip, adam)), decay)
  return optax.chain(*map(packed, clip), decay, packed(adam))


def packed(inner: optax.GradientTransformation) -> optax.GradientTransformation:
  """`inner` of one long array a dtype, in place of all small ones.

  A model has hundreds of small parameters; treating each by itself is a large part of
  a step's program, and of the time that compiling and loading it takes. As
  `optax.flatten`, but large arrays stay as they are: to copy them would cost a step
  more than it saves.
  """

  def init(params):
    return inner.init(pack(params))

  def update(updates, state, params=None):
    changes, state = inner.update(pack(updates), state, params and pack(params))
    return unpack(changes, updates), state

  return optax.GradientTransformation(init, update)


def norm(tree) -> jax.Array:
  """The Euclidean norm of all numbers of a tree; inf or NaN where one of them is."""
  return optax.tree.norm(pack(tree))


def pack(tree) -> dict[str, jax.Array]:
  """Large leaves by their place, and the small ones of a dtype end to end."""
  packs, small = {}, {}
  for i, leaf in enumerate(jax.tree.leaves(tree)):
    if leaf.size < LARGE:
      small.setdefault(str(leaf.dtype), []).append(leaf.reshape(-1))
    else:
      packs[f"leaf_{i}"] = leaf
  return packs | {kind: jnp.concatenate(parts) for kind, parts in small.items()}


def unpack(packs: dict[str, jax.Array], like):
  """The inverse of `pack` for a tree `like` the packed one."""
  leaves, tree = jax.tree.flatten(like)
  found, start = [], dict.fromkeys(packs, 0)
  for i, leaf in enumerate(leaves):
    if leaf.size >= LARGE:
      found.append(packs[f"leaf_{i}"])
      continue
    kind = str(leaf.dtype)
    end = start[kind] + leaf.size
    found.append(packs[kind][start[kind] : end].reshape(leaf.shape))
    start[kind] = end
  return jax.tree.unflatten(tree, found)


def path_name(path) -> str:
  """The path of a parameter as patterns see it, a/b/c."""
  return "/".join(str(part.key) for part in path)


def _decayed(undecayed: str, params):
  decayed = lambda path, _: not re.fullmatch(undecayed, path_name(path))
  return jax.tree_util.tree_map_with_path(decayed, params)


def schedule(optim, step, total_steps):
  """The factor on the learning rate at a step counted from 0: warm-up, then cosine."""
  factor = jnp.ones((), jnp.float32)
  step = step.astype(jnp.float32)
  if optim.schedule == "cosine":
    rest = jnp.maximum(total_steps - optim.warmup_steps, 1)
    done = jnp.clip((step - optim.warmup_steps) / rest, 0, 1)
    factor = 0.5 * (1 + jnp.cos(jnp.pi * done))
  if optim.warmup_steps:
    factor = factor * jnp.minimum((step + 1) / optim.warmup_steps, 1)
  return factor
