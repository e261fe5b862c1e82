"""Images of functions: build contexts made of templates and handlers, built and pushed through the Docker Engine."""
