"""Cost report: cost and agreement of runs over the same videos."""
