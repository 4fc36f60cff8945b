"""Exports of finished runs in the formats of other tools."""
