"""Commands that measure at the size of real archives."""
