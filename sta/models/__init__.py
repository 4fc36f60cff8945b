"""The backbones: ViT and Swin with token pruning, and the table of their architectures."""
