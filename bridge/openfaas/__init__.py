"""What OpenFaaS writes and reads, as values: names of functions, deployments, and the stack.yml of faas-cli."""
