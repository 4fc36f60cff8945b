"""Questions to an archive that a sample answers; here the statistics, pure functions of numbers."""
