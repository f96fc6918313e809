"""Statistics of answers: intervals of figures, and tests of whether two sets of answers differ."""
