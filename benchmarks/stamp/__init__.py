"""The benchmarks' function: `handler.py` is what the gateway runs."""
