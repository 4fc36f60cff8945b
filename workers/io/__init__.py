"""Fetching videos from local disks, S3 and HTTP, whole or by ranges."""
