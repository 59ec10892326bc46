"""The axis alphabet, and the arrays that travel together.

B batch, S seed, T step of a sequence, Q and K query and key steps, H heads,
D features, N samples, R rank, L layers. Signatures use the capitals, einsum strings
the lower-case letters.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Array

Batch = Mapping[str, Array | np.ndarray]
"""`<m>` (B, T, D), `<m>_mask` (B, T), `label` (B, ...), `weight` (B,)."""

Outputs = dict[str, Array]
"""Every intermediate of a model that is worth drawing, by name."""
