"""What a pickle holds that is no array and no container, and the line that mends it.

Nothing of such a file is run. Whoever trusts it loads it once with the library that it
was written by, and saves plain arrays.
"""

LOAD = 'import pickle; x = pickle.load(open("FILE", "rb"))'
PANDAS = (
  "an object of pandas. With pandas installed: import pandas; x = "
  'pandas.read_pickle("FILE"); a DataFrame becomes a plain dict by x = '
  '{k: v.to_numpy().tolist() for k, v in x.items()}; then pickle.dump(x, open("NEW", '
  '"wb"))'
)
TORCH = (
  'an object of PyTorch. With torch installed: import torch; x = torch.load("FILE") or '
  'pickle.load(open("FILE", "rb")); every tensor becomes an array by t.numpy(); then '
  'pickle.dump(x, open("NEW", "wb"))'
)
JOBLIB = (
  "written by joblib. With joblib installed: import joblib, pickle; "
  'pickle.dump(joblib.load("FILE"), open("NEW", "wb"))'
)
SCIPY = (
  f"a sparse matrix or other object of SciPy. {LOAD}; x.toarray() is a plain array"
)
# The first part of a module's name -> what its objects are, and how they become arrays.
BY_LIBRARY = {
  "pandas": PANDAS,
  "torch": TORCH,
  "joblib": JOBLIB,
  "scipy": SCIPY,
  "tensorflow": "an object of TensorFlow: x.numpy() is a plain array",
  "jaxlib": "an array of JAX: numpy.asarray(x) is a plain array",
  "jax": "an array of JAX: numpy.asarray(x) is a plain array",
  "PIL": "an image of Pillow, and not features of it",
  "transformers": "an object of Transformers, and not arrays",
}


def hint(module: str) -> str:
  """What objects of a module are, and how they become arrays; "" if not known."""
  return BY_LIBRARY.get(module.partition(".")[0], "")
