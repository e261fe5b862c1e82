"""Benchmarks: how quick and how large the programs are on this machine. `scripts/bench` runs them.

Every module that `benchmarks.catalogue` names measures one thing; `benchmarks/roles/` holds the processes at the
other end (a sink, a subscriber, a publisher, ...), so that nothing measured shares a process with its measurer.
"""
