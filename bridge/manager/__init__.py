"""The manager: owns the mappings, over an HTTP API; deploys stacks to a swarm."""
