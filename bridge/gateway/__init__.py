"""The gateway: OpenFaaS' HTTP interface over functions that run as processes (or, with another backend, elsewhere)."""
