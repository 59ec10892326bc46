"""A face in a frame: where it is, its mesh of 468 points, and where the eyes look.

Three networks of Google's, run in JAX (`tflite`): a detector (Bazarevsky et al.,
BlazeFace, 2019), the mesh (Kartynnik et al., 2019) and the iris (Ablavatski et al.,
2020). Of several faces the largest counts. The mesh is read in a square of 1.5 times
the face, turned so that the eyes are level; an eye in a square of 2.3 times its width.
"""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mcr_jax.extract.gather import BATCH
from mcr_jax.extract.tflite import Network

CANVAS = 480  # pixels: frames lie in its upper left corner, so that one program serves
FOUND = 0.5  # the score and the presence that a face needs
OVERLAP = 0.3  # of boxes of one face
POINTS = 468
# Corners of the eyes in the mesh, outer and inner, as the person has right and left.
EYES = {"right": (33, 133), "left": (263, 362)}


class Faces(NamedTuple):
  """The largest face of each of N frames.

  Attributes:
    present: (N,) whether there is one.
    score: (N,) the lower of the detector's score and the mesh's presence.
    mesh: (N, 468, 3) pixels of the frame, z towards the camera negative.
    iris: (N, 2, 2) pixels, centres of the right and the left iris.
  """

  present: np.ndarray
  score: np.ndarray
  mesh: np.ndarray
  iris: np.ndarray


@dataclasses.dataclass(frozen=True)
class Finder:
  """The three networks of a folder."""

  folder: Path

  def __call__(self, frames: Sequence[np.ndarray]) -> Faces:
    """The faces of frames (height, width, 3) uint8, none larger than `CANVAS`."""
    parts = []
    for first in range(0, len(frames), BATCH):
      some = frames[first : first + BATCH]
      canvas = np.zeros((BATCH, CANVAS, CANVAS, 3), np.uint8)
      sides = np.full(BATCH, CANVAS, np.float32)
      for i, frame in enumerate(some):
        height, width = frame.shape[:2]
        canvas[i, :height, :width] = frame
        sides[i] = max(height, width)
      found = jax.device_get(self._program(canvas, sides))
      parts.append(jax.tree.map(lambda x: x[: len(some)], found))  # noqa: B023
    score, mesh, iris = (np.concatenate(x) for x in zip(*parts, strict=True))
    return Faces(score >= FOUND, score, mesh, iris)

  @functools.cached_property
  def _program(self):
    detector, mesh, iris = (
      Network(self.folder / f"{name}.tflite")
      for name in ("face_detection_short_range", "face_landmark", "iris_landmark")
    )

    @jax.jit
    def program(canvas, sides):
      score, box, turn = _detect(detector, canvas, sides)
      present, points = _mesh(mesh, canvas, box, turn)
      centres = _iris(iris, canvas, points)
      return jnp.minimum(score, present), points, centres

    return program


def _detect(network, canvas, sides):
  """Score (N,), box (N, 3) as centre and side, and turn (N,), in pixels."""
  size = network.shape[0]
  one = jnp.arange(size) + 0.5
  grid = jnp.stack(jnp.meshgrid(one, one), -1).reshape(-1, 2) / size
  pixels = _shrunk(canvas, grid, sides, size)
  boxes, scores = network(pixels / 127.5 - 1)
  score = jax.nn.sigmoid(scores[..., 0])
  place = boxes.reshape(*score.shape, 8, 2) / size
  centre = place[:, :, 0] + ANCHORS[None]
  extent = place[:, :, 1]
  low, high = centre - extent / 2, centre + extent / 2
  area = extent.prod(-1)
  best = jnp.where(score >= FOUND, area, score - 2).argmax(1)[:, None]
  pick = lambda x: jnp.take_along_axis(x, best[..., None], 1)
  width = jnp.minimum(high, pick(high)) - jnp.maximum(low, pick(low))
  shared = jnp.clip(width, 0).prod(-1)
  same = shared / (area + jnp.take_along_axis(area, best, 1) - shared) > OVERLAP
  # Boxes of one face agree better than any of them is right.
  found = jnp.where(same, score, 0).max(1)
  weight = jnp.where(same & (score >= FOUND), score, 0)
  weight = weight.at[jnp.arange(len(best)), best[:, 0]].add(1e-6)
  weight = weight / weight.sum(1, keepdims=True)
  mean = lambda x: jnp.einsum("na,nad->nd", weight, x)
  right, left = (mean(place[:, :, i] + ANCHORS[None]) for i in (2, 3))
  eyes = left - right
  box = jnp.concatenate([mean(centre), mean(extent).max(-1, keepdims=True)], 1)
  turn = jnp.arctan2(eyes[:, 1], eyes[:, 0])
  return found, box * sides[:, None], turn


def _shrunk(canvas, grid, sides, size):
  """Frames with their longer side on `size` pixels, each the mean of what it covers."""
  taps = 3  # across a pixel, each way: a frame is at most 3.75 times as large
  one = ((jnp.arange(taps) + 0.5) / taps - 0.5) / size
  shifts = jnp.stack(jnp.meshgrid(one, one), -1).reshape(-1, 2)
  total = 0.0
  for shift in shifts:
    total = total + _sample(canvas, (grid + shift[None])[None] * sides[:, None, None])
  return (total / len(shifts)).reshape(-1, size, size, 3)


def _mesh(network, canvas, box, turn):
  """Presence (N,), and points (N, 468, 3) in pixels of the frame."""
  size, side = network.shape[0], 1.5 * box[:, 2]
  crops = _crop(canvas, box[:, :2], side, turn, size)
  points, flag = network(crops / 255)
  points = points.reshape(-1, POINTS, 3) / size
  flat = _back(points[..., :2], box[:, :2], side, turn)
  deep = points[..., 2:] * side[:, None, None]
  return jax.nn.sigmoid(flag.reshape(-1)), jnp.concatenate([flat, deep], -1)


def _iris(network, canvas, points):
  """(N, 2, 2) pixels, the centres of both irises."""
  size, centres = network.shape[0], []
  for name, (outer, inner) in EYES.items():
    a, b = points[:, outer, :2], points[:, inner, :2]
    # The network knows right eyes: of a left one it sees the mirror image.
    mirror = name == "left"
    along = (b - a) if not mirror else (a - b)
    turn = jnp.arctan2(along[:, 1], along[:, 0])
    side = 2.3 * jnp.linalg.norm(along, axis=-1)
    middle = (a + b) / 2
    crops = _crop(canvas, middle, side, turn, size)
    _, iris = network((crops[:, :, ::-1] if mirror else crops) / 255)
    centre = iris.reshape(-1, 5, 3)[:, :1, :2] / size
    if mirror:
      centre = centre.at[..., 0].set(1 - centre[..., 0])
    centres.append(_back(centre, middle, side, turn))
  return jnp.concatenate(centres, 1)


def _crop(canvas, centre, side, turn, size):
  """(N, size, size, 3): squares of frames, turned."""
  one = (jnp.arange(size) + 0.5) / size
  grid = jnp.stack(jnp.meshgrid(one, one), -1).reshape(1, -1, 2)
  place = _back(
    jnp.broadcast_to(grid, (len(side), *grid.shape[1:])), centre, side, turn
  )
  return _sample(canvas, place).reshape(-1, size, size, 3)


def _back(points, centre, side, turn):
  """Points (N, P, 2) of a square, 0 to 1, as pixels of the frame."""
  c, s = jnp.cos(turn), jnp.sin(turn)
  matrix = jnp.stack([jnp.stack([c, -s], -1), jnp.stack([s, c], -1)], -2)
  away = jnp.einsum("nij,npj->npi", matrix, points - 0.5)
  return centre[:, None] + side[:, None, None] * away


def _sample(canvas, place):
  """(N, P, 3): bilinear, of pixels whose centres are at halves; black outside."""
  place = place - 0.5
  low = jnp.floor(place)
  share = place - low
  low = low.astype(jnp.int32)
  row = jnp.arange(len(canvas))[:, None]
  total = 0.0
  for dy in (0, 1):
    for dx in (0, 1):
      x, y = low[..., 0] + dx, low[..., 1] + dy
      inside = (x >= 0) & (x < canvas.shape[2]) & (y >= 0) & (y < canvas.shape[1])
      pixel = canvas[
        row, jnp.clip(y, 0, canvas.shape[1] - 1), jnp.clip(x, 0, canvas.shape[2] - 1)
      ]
      weight = (share[..., 0] if dx else 1 - share[..., 0]) * (
        share[..., 1] if dy else 1 - share[..., 1]
      )
      total = total + jnp.where(inside, weight, 0)[..., None] * pixel
  return total


def _anchors() -> np.ndarray:
  """(896, 2) centres of the detector's cells: 16 x 16 with two, 8 x 8 with six each."""
  found = []
  for cells, count in ((16, 2), (8, 6)):
    y, x = np.divmod(np.arange(cells * cells), cells)
    found.append(np.repeat((np.stack([x, y], 1) + 0.5) / cells, count, axis=0))
  return np.concatenate(found).astype(np.float32)


ANCHORS = _anchors()
