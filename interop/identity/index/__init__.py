"""The index of architectures: tensors' names and shapes -> whose they are."""
