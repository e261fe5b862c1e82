"""A stack: services, networks, configs and secrets of one compose file, deployed to a Docker Swarm and kept there."""
