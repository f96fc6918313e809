"""One module a task: what outputs mean, which answers are right, and the figures of them."""
