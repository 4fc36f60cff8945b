"""The command that fits an early-exit threshold on videos evaluated in full."""
