"""Benchmarks that check outputs before they time and give ratios of paired runs."""
