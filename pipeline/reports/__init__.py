"""Reports of finished runs: run, cost, tokens, early exit."""
