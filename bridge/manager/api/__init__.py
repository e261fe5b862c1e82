"""The manager's HTTP API, one file a group of paths."""
