"""The cluster: the machines of the swarm, their roles and labels, and what would stop it."""
