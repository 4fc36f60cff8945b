"""What a labelling run will need: calibration, a simulation, and the cluster for a deadline."""
