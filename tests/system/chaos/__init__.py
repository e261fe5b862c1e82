"""Faults on real programs, and the count of what they must not lose."""
