"""Candidate models x a task -> how reusable each is, and which can stand in for which."""
