"""Virtual boards: flash, ROM, MicroPython, clock, serial port and link, as one process each."""

from keyfob_host.virtual.board import VirtualBoard, running

__all__ = ["VirtualBoard", "running"]
