"""Scenarios: tests of a house in YAML, a time line of what happens and of what is expected.

`document` reads the files, and `steps` what stands in them line by line; `words` are what sensors and functions are
told. `timeline` fits it all to the house that it is about, as `happenings` and expectations, and `run` lets it happen;
`expectations` says what is met.
"""
