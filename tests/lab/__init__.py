"""A Docker Swarm of one machine's own: engines in network namespaces that stand for Raspberry Pis, and a registry.

`scripts/lab` brings it up for people, the fixtures in `fixtures.py` for tests. Needs root.
"""
