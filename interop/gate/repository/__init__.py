"""A git repository's models: which there are, which are new, and each one's Report."""
