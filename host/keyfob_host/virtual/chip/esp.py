"""The esp module, as far as boot.py files name it."""

LOG_NONE, LOG_ERROR, LOG_WARNING, LOG_INFO, LOG_DEBUG, LOG_VERBOSE = range(6)


def osdebug(uart, level=None):
    pass


def flash_size():
    return 4194304
