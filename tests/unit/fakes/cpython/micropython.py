"""MicroPython's `const`, which CPython lacks: the value itself."""


def const(value):
    return value
