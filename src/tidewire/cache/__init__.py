"""Answers that need not be asked for again: equal requests in flight, and answers that were given before."""
