"""The engine door: the one program that has the Docker Engine's socket, and what it lets the others ask there."""
