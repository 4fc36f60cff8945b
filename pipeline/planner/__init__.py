"""What a labeling run will need: calibration, a simulation, and the cluster for a deadline."""
