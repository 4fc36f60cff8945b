"""Checks of a finished run: every unit has one row, and all tables agree."""
