"""New labels for a run from the embeddings that it stores."""
