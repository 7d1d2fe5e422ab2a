"""Virtual boards: flash, ROM, MicroPython, clock, serial port and link, as one process each."""

from keyfob_host.virtual.board import VirtualBoard, known, running

__all__ = ["VirtualBoard", "known", "running"]
