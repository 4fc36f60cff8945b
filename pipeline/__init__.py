"""The pipeline: listing, manifest, the Ray Data graph, the run directory, tables and summaries."""
