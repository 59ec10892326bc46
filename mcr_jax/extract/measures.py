"""Numbers of a face with names, out of its mesh: shape, pose, gaze, place, and change.

Shapes are distances in three dimensions over that between the outer corners of the
eyes, so that neither size, place nor pose of the head changes them much. They are
geometry, not action units: nobody has judged them.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mcr_jax.extract.face import EYES, Faces, Finder

# name -> two points of the mesh; right and left are the person's own.
DISTANCES = {
  "mouth_open": (13, 14),
  "mouth_height": (0, 17),
  "mouth_width": (61, 291),
  "eye_open_right": (159, 145),
  "eye_open_left": (386, 374),
  "brow_inner_right": (55, 133),
  "brow_inner_left": (285, 362),
  "brow_middle_right": (105, 159),
  "brow_middle_left": (334, 386),
  "brow_outer_right": (46, 33),
  "brow_outer_left": (276, 263),
  "brow_gap": (55, 285),
  "nose_to_lip": (2, 0),
  "chin_to_lip": (152, 17),
}
POSE = ("mouth_corners_up", "roll", "yaw", "pitch", "gaze_right", "gaze_up")
PLACE = ("place_x", "place_y", "size")
STILL = (*DISTANCES, *POSE, *PLACE)
FACE_NAMES = (*STILL, *(f"{name}_change" for name in STILL), "score")
MESH_NAMES = tuple(f"point_{i:03}_{axis}" for i in range(468) for axis in "xyz")


class FaceSeer:
  """Frames to measures of the face, or to its mesh.

  Args:
    folder: of the three networks.
    kind: "face" or "mesh".
  """

  def __init__(self, folder: Path, kind: str):
    self._find, self._kind = Finder(folder), kind
    self.names = FACE_NAMES if kind == "face" else MESH_NAMES

  def look(self, frames: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
    """Measures, presence and score of each frame: of long clips no mesh is kept."""
    faces = self._find(frames)
    sizes = np.array([frame.shape[:2] for frame in frames], float)
    rows = still(faces, sizes) if self._kind == "face" else mesh(faces)
    return rows, faces.present, faces.score

  def measure(
    self, found: list[tuple[np.ndarray, ...]], fresh: np.ndarray, rate: float
  ) -> tuple[np.ndarray, np.ndarray]:
    """Features (N, D) and presence (N,); see `gather.Seer`."""
    rows, present, score = map(np.concatenate, zip(*found, strict=True))
    present = present & fresh
    if self._kind == "face":
      return changing(rows, present, score, rate), present
    return np.where(present[:, None], rows, 0), present


def face(faces: Faces, sizes: np.ndarray, rate: float) -> np.ndarray:
  """(N, len(FACE_NAMES)) float32.

  Args:
    faces: of N frames, one after another in time.
    sizes: (N, 2) height and width of the frames.
    rate: frames a second.
  """
  return changing(still(faces, sizes), faces.present, faces.score, rate)


def still(faces: Faces, sizes: np.ndarray) -> np.ndarray:
  """(N, len(STILL)): what a frame shows without those before it; see `face`."""
  points = faces.mesh
  unit = _distance(points, EYES["right"][0], EYES["left"][0])
  columns = [_distance(points, a, b) / unit for a, b in DISTANCES.values()]
  level = _level(points, unit)
  lips = level[:, (13, 14), 1].mean(1) - level[:, (61, 291), 1].mean(1)
  right, left = points[:, EYES["right"][0]], points[:, EYES["left"][0]]
  across = left - right
  columns += [
    lips,
    np.arctan2(across[:, 1], across[:, 0]),
    np.arctan2(across[:, 2], np.hypot(across[:, 0], across[:, 1])),
    np.arctan2(level[:, 10, 2] - level[:, 152, 2], level[:, 152, 1] - level[:, 10, 1]),
    *_gaze(faces),
  ]
  sides = sizes.max(1)
  middle = (right + left)[:, :2] / 2
  columns += [*((middle - sizes[:, ::-1] / 2) / sides[:, None]).T, unit / sides]
  return np.stack(columns, 1)


def changing(
  rows: np.ndarray, present: np.ndarray, score: np.ndarray, rate: float
) -> np.ndarray:
  """(N, len(FACE_NAMES)) float32: what is still, its change, and the score.

  A change is that from the frame before, a second; 0 where one of both has no face.
  """
  change = np.diff(rows, axis=0, prepend=rows[:1]) * rate
  both = present & np.concatenate([[False], present[:-1]])
  change = np.where(both[:, None], change, 0)
  found = np.concatenate([rows, change, score[:, None]], 1)
  return np.where(present[:, None], found, 0).astype(np.float32)


def mesh(faces: Faces) -> np.ndarray:
  """(N, 1404) float32: all points, without place, size and roll of the face."""
  unit = _distance(faces.mesh, EYES["right"][0], EYES["left"][0])
  flat = _level(faces.mesh, unit).reshape(len(faces.mesh), -1)
  return np.where(faces.present[:, None], flat, 0).astype(np.float32)


def _distance(points, a, b):
  # A mesh of nothing is all one point.
  return np.maximum(np.linalg.norm(points[:, a] - points[:, b], axis=-1), 1e-6)


def _level(points, unit):
  """Points around the middle of the eyes, which are level and one apart."""
  right, left = points[:, EYES["right"][0]], points[:, EYES["left"][0]]
  across = left - right
  angle = np.arctan2(across[:, 1], across[:, 0])
  c, s = np.cos(angle), np.sin(angle)
  away = (points - ((right + left) / 2)[:, None]) / unit[:, None, None]
  x = c[:, None] * away[..., 0] + s[:, None] * away[..., 1]
  y = c[:, None] * away[..., 1] - s[:, None] * away[..., 0]
  return np.stack([x, y, away[..., 2]], -1)


def _gaze(faces):
  """Where the irises are between the corners of the eyes, over half of their distance.

  To the person's right positive, and up, each the mean of both eyes.
  """
  found = []
  for i, (name, (outer, inner)) in enumerate(EYES.items()):
    a, b = faces.mesh[:, outer, :2], faces.mesh[:, inner, :2]
    along = (b - a) if name == "right" else (a - b)  # to the person's left
    half = np.maximum(np.linalg.norm(along, axis=-1, keepdims=True) / 2, 1e-6)
    along = along / (2 * half)
    away = (faces.iris[:, i] - (a + b) / 2) / half
    up = along[:, 1] * away[:, 0] - along[:, 0] * away[:, 1]
    found.append((-(away * along).sum(-1), up))
  return np.mean(found, 0)
