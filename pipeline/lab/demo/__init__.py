"""Training and evaluation of the demo model, which knows the classes of the demo archive."""
