"""Plans a labeling run: measured rates, a simulation, and the cluster for a deadline."""
