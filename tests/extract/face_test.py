"""Networks of the face against LiteRT, and a face where there is one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mcr_jax.errors import UserError
from mcr_jax.extract import measures, tflite
from mcr_jax.extract.face import CANVAS, Faces, Finder
from tests.extract.litert import OUTPUTS


@pytest.mark.parametrize("name", OUTPUTS)
def test_networks_are_those_of_litert(brought, name):
  network = tflite.Network(brought("face") / f"{name}.tflite")
  x = np.random.default_rng(7).uniform(-1, 1, (1, *network.shape)).astype(np.float32)
  outputs = jax.jit(network.__call__)(jnp.asarray(x))
  for output, y in zip(network.outputs, outputs, strict=True):
    flat, wanted = np.asarray(y).reshape(-1), np.array(OUTPUTS[name][output])
    found = flat[:: max(1, len(flat) // 24)][:24]
    np.testing.assert_allclose(
      found, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max()
    )


def test_damaged_networks_are_refused(brought, tmp_path):
  data = (brought("face") / "face_landmark.tflite").read_bytes()
  path = tmp_path / "x.tflite"
  rng = np.random.default_rng(0)
  broken = [b"", data[:40], b"TFL3" * 9]
  for _ in range(20):
    some = bytearray(data[:4000])
    for place in rng.integers(8, len(some), 30):
      some[place] = rng.integers(256)
    broken.append(bytes(some))
  for some in broken:
    path.write_bytes(some)
    with pytest.raises(UserError):
      tflite.Network(path)


def test_the_largest_face_is_found_and_noise_has_none(brought):
  data = pytest.importorskip("skimage.data", reason="has a licensed picture of a face")
  face = data.astronaut()[:360, 60:420]
  noise = np.random.default_rng(0).integers(0, 255, (CANVAS, 320, 3), dtype=np.uint8)
  level, turned = face, np.rot90(face).copy()
  small = np.zeros((240, CANVAS, 3), np.uint8)
  small[:120, :120] = face[::3, ::3]
  found = Finder(brought("face"))([level, noise, small, np.zeros_like(turned)])
  assert found.present.tolist() == [True, False, True, False]
  np.testing.assert_allclose(found.mesh[2, :, :2] * 3, found.mesh[0, :, :2], atol=8)
  eyes = found.mesh[0, [33, 263], :2]
  assert 60 < np.linalg.norm(eyes[1] - eyes[0]) < 70
  for eye, (outer, inner) in enumerate(((33, 133), (263, 362))):
    corners = found.mesh[0, [outer, inner], 0]
    assert corners.min() < found.iris[0, eye, 0] < corners.max()


def faces(mesh, iris=None):
  count = len(mesh)
  iris = np.zeros((count, 2, 2)) if iris is None else iris
  return Faces(np.ones(count, bool), np.ones(count), mesh, iris)


def test_measures_do_not_know_place_size_or_roll():
  rng = np.random.default_rng(0)
  mesh = rng.normal(size=(1, 468, 3)) * 10
  mesh[:, 33], mesh[:, 263] = (-20, 0, 0), (20, 3, 1)
  c, s = np.cos(0.3), np.sin(0.3)
  turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
  moved = 1.7 * mesh @ turn.T + np.array([40.0, -9.0, 0.0])
  size = np.array([[480.0, 360.0]])
  one, other = (measures.face(faces(x), size, 10.0)[0] for x in (mesh, moved))
  same = [*measures.DISTANCES, "mouth_corners_up", "pitch"]
  for name in same:
    i = measures.FACE_NAMES.index(name)
    assert one[i] == pytest.approx(other[i], abs=1e-4), name
  roll = measures.FACE_NAMES.index("roll")
  assert other[roll] - one[roll] == pytest.approx(0.3, abs=1e-4)
  np.testing.assert_allclose(
    measures.mesh(faces(mesh)), measures.mesh(faces(moved)), atol=1e-4
  )


def test_gaze_is_where_the_irises_are():
  mesh = np.zeros((1, 468, 3))
  # The person's right eye is on the left of the picture; its outer corner outside.
  mesh[0, 33], mesh[0, 133] = (100, 100, 0), (120, 100, 0)
  mesh[0, 362], mesh[0, 263] = (140, 100, 0), (160, 100, 0)
  iris = np.array([[[105.0, 96.0], [145.0, 96.0]]])  # left in the picture, and up
  row = measures.face(faces(mesh, iris), np.array([[200.0, 200.0]]), 10.0)[0]
  get = lambda name: row[measures.FACE_NAMES.index(name)]
  assert get("gaze_right") == pytest.approx(0.5)
  assert get("gaze_up") == pytest.approx(0.4)


def test_changes_are_a_second_and_none_where_a_face_is_missing():
  mesh = np.zeros((3, 468, 3))
  mesh[:, 33], mesh[:, 263] = (0, 0, 0), (10, 0, 0)
  mesh[:, 14, 1] = (1, 2, 4)
  found = faces(mesh)
  i = measures.FACE_NAMES.index("mouth_open_change")
  size = np.full((3, 2), 100.0)
  np.testing.assert_allclose(measures.face(found, size, 10.0)[:, i], [0, 1, 2])
  found = found._replace(present=np.array([True, False, True]))
  row = measures.face(found, size, 10.0)
  np.testing.assert_array_equal(row[:, i], 0)
  assert not row[1].any()
