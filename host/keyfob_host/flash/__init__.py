"""Flashing: the image is judged first, then the chip, then esptool writes and verifies."""
