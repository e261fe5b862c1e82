"""Scenarios: tests of a house in YAML, a time line of what happens and of what is expected.

`document` reads the files, `timeline` fits them to the house they are about, `run` lets them happen; `words` are what
sensors and functions are told.
"""
