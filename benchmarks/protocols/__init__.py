"""The parts of benchmarks/real_data.py: corpora, simple methods, runs, tables."""
