"""Pages on early exit: what a threshold saves, and what a budget bought."""
