"""transformers' models."""
