"""gpio-bridge: the event-driven bridge between the pins of a Raspberry Pi cluster and serverless functions."""

__version__ = "0.1.0"
