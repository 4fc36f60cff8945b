"""Pages on videos that stored embeddings find: similar ones, duplicates, what to label next."""
