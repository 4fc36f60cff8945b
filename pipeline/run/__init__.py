"""The run directory on disk: run.json, lease, commits, tables and their schemas."""
