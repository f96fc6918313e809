"""The models of the installed libraries -> the index, and which of them compute the same."""
