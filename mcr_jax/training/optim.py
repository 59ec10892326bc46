"""The optimiser of a config, without its learning rate.

The learning rate is a number of the training state, not of the program: it is
multiplied in by the step, so that one program serves a plateau and a sweep.
"""

import jax
import jax.numpy as jnp
import optax

# Where models keep their last fully connected layer.
HEADS = (("output",), ("head", "output"))


def transform(optim, weight_decay) -> optax.GradientTransformation:
  """Clipping, Adam or AdamW; `weight_decay` may be a traced scalar.

  `adam` adds the decay to the gradient (L2, as in PyTorch's Adam), `adamw` to the
  update (decoupled). What is only added (biases) and the scales of norms are left out.
  """
  steps = []
  if optim.clip > 0:
    steps.append(optax.clip_by_global_norm(optim.clip))
  decays = not (isinstance(weight_decay, int | float) and weight_decay == 0)
  decay = optax.add_decayed_weights(weight_decay, mask=_decayed)
  if decays and optim.name == "adam":
    steps.append(decay)
  steps.append(optax.scale_by_adam(optim.b1, optim.b2, optim.eps))
  if decays and optim.name == "adamw":
    steps.append(decay)
  return optax.chain(*steps)


def _names(path) -> tuple[str, ...]:
  return tuple(str(part.key) for part in path)


def _decayed(params):
  """Booleans, by name: no `bias`, nothing of `b_`, and no `scale` of a norm."""

  def decayed(path, _):
    *modules, name = _names(path)
    of_norm = name == "scale" and "norm" in "".join(modules[-1:])
    return not ("bias" in name or name.startswith("b_") or of_norm)

  return jax.tree_util.tree_map_with_path(decayed, params)


def schedule(optim, step, total_steps: int):
  """The factor on the learning rate at a step counted from 0: warm-up, then cosine."""
  factor = jnp.ones((), jnp.float32)
  step = step.astype(jnp.float32)
  if optim.schedule == "cosine":
    rest = max(total_steps - optim.warmup_steps, 1)
    done = jnp.clip((step - optim.warmup_steps) / rest, 0, 1)
    factor = 0.5 * (1 + jnp.cos(jnp.pi * done))
  if optim.warmup_steps:
    factor = factor * jnp.minimum((step + 1) / optim.warmup_steps, 1)
  return factor


def trainable(params, only: str):
  """A tree of booleans: everything, or the last fully connected layer alone."""
  chosen = lambda path, _: only == "all" or _names(path)[:-1] in HEADS
  return jax.tree_util.tree_map_with_path(chosen, params)
