"""Measurements outside a labeling run: ablations, benchmarks, the demo model, the paper."""
