"""Pure decisions: no I/O, no clock, no randomness, no logging lives here. Time and jitter come as arguments."""
