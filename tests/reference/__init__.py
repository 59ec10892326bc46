"""Oracles: the papers' equations in NumPy float64, sharing no code with the package."""
