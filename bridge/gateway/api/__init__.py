"""The gateway's HTTP interface, one module per group of verbs."""
