"""Archives: a zip's entries, storages that are compressed, a model within another file."""
