"""The forward pass: views, batches, streams, early exit, and the pruned model on its device."""
