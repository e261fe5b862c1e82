"""The sensor history: what every sensor told in the last hours, in a file of its own."""
