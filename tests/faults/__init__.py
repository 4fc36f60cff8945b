"""Commands that break running jobs for real, and then ask for every video exactly once."""
