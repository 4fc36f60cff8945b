"""Linear heads that are trained on a run's stored embeddings, and how good they are."""
