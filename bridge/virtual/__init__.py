"""Virtual Pis: nodes whose pins are gpiozero's mocks, driven by a person, a scenario or a test."""
