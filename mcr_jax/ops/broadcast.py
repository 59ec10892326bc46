"""Ranks are matched in the open: a forgotten axis must not broadcast in silence."""

from jaxtyping import Array, Shaped


def broadcast_left(
  x: Shaped[Array, "..."], like: Shaped[Array, "..."]
) -> Shaped[Array, "..."]:
  """`x` with leading axes of one, as many as `like` has more, in the type of `like`."""
  return x.reshape((1,) * (like.ndim - x.ndim) + x.shape).astype(like.dtype)
