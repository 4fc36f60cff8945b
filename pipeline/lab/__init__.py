"""What is no part of a labeling run: ablations, benchmarks, the demo and the paper's tables."""
