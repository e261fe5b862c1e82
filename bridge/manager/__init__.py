"""The manager: owns the mappings, over an HTTP API."""
