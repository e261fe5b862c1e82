"""Docker Swarm for the programs that need it: the engine's client, what services are made of, what became of them."""
