"""One command line per file."""
