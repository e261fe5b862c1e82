"""The function server: loads a function and speaks HTTP for it.

The same code runs in a local process and in a container, so this package imports nothing else of the project and
only the standard library and h11 besides. It must also work when its folder alone is copied somewhere.
"""
