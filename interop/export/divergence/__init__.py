"""A graph that answers otherwise than its module -> where it departs, in a folder that shows it."""
