"""The boards of a bench: bench.toml, finding them on USB, and who holds which."""
