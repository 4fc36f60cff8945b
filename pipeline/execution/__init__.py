"""The Ray Data graph and what runs beside it: pools, cluster, session, progress, metrics."""
