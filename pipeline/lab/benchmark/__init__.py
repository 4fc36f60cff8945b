"""Benchmarks: outputs are checked before timing, and ratios are those of paired rounds."""
