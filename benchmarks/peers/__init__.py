"""Peers: programs that somebody would install instead, for the benchmarks `peers`, `peers-agent` and `losses`.

Each module tells of one peer how it is installed, configured and started. Only a benchmark that is asked for by name
installs anything, into a cache folder outside the project (`benchmarks.peers.installing`).
"""
