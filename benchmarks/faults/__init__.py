"""Faults that a machine, a disk, a network or a file can have, tried on the programs.

A module a row of the table in `benchmarks/README.md`: `bin/faults --help` lists them.
Each has `WHAT`, `MUST`, `COUNT` and a context manager `cases`, which prepares what all
cases share and gives the function that tries the case of a number and says how it
ended.
"""
