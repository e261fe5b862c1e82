"""The agent: one node's pins become events, and its outputs obey commands."""
