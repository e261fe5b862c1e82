"""What must survive: the durable engine (SQLite) and the stores on it."""
