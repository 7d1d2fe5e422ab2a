"""The hardware-in-the-loop bench: a pytest plugin and what its fixtures are made of."""
