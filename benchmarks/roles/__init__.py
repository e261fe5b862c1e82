"""The processes at the other end of what is measured; each talks with the benchmark in lines of JSON.

They are as cheap as they can be made (no client library where a few bytes on a socket do), because on a small machine
what they burn is missing where it is measured.
"""
