"""Programs that run in a peer's own environment, where a peer is a library; they import nothing of ours."""
