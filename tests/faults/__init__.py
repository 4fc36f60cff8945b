"""Commands that break running jobs for real, and then check that every video has one row."""
