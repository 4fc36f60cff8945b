"""Stored features of views: reading them, and what made them."""
