"""The select module as the ESP32 port has it."""

from uselect import POLLERR, POLLHUP, POLLIN, POLLOUT, poll  # noqa
