"""Who may do what: tokens with roles, the guard that asks for them, and the account of every change."""
