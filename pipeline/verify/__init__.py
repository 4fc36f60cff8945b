"""Proof that a run is whole: each unit once, and every table what the units say."""
