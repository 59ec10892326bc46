"""What figures and pages show of runs: maps of a sample, curves, scores, confusion.

`visualize` draws arrays; here they are taken from workdirs.
"""
