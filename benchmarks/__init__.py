"""Benchmarks: each against its reference, in one run and interleaved. `python -m benchmarks --help` lists them."""
