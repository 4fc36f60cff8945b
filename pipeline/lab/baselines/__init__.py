"""Baselines: what a user would take instead of STA, on the same models at equal FLOPs."""
