"""One way to read, write, list and commit on a local disk, S3 or any other store."""
