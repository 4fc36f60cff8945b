"""Questions to an archive that a sample answers."""
