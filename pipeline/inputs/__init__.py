"""From what a user names (a file, a folder, a bucket, a list) to the manifest of units."""
