"""Modules that are let go of: their memory comes back at once."""

import gc
import os
import sys

import device_support  # noqa: F401

import keyfob

NAME = "keyfob.tls.alerts"
ROUNDS = 4
# What else may come to stay: a name, a larger table of loaded modules.
SLACK_BYTES = 600
FAILS = """
table = {1: "a text that is longer than a name may be", 2: "and another, so that it counts"}
place = bytearray(4000)
raise MemoryError
"""


def in_use() -> int:
    """The heap in use, in bytes; only MicroPython tells it."""
    gc.collect()
    return gc.mem_alloc() if hasattr(gc, "mem_alloc") else 0


def check_leaves_its_memory(forget) -> None:
    """``forget()`` behind each import, round after round."""
    __import__(NAME)
    forget()
    before = in_use()
    for _ in range(ROUNDS):
        __import__(NAME)
        forget()
        assert NAME not in sys.modules
        assert "alerts" not in sys.modules["keyfob.tls"].__dict__
    assert in_use() - before <= SLACK_BYTES


def test_an_unloaded_module_leaves_its_memory() -> None:
    check_leaves_its_memory(lambda: keyfob.unload(NAME))


def test_a_dropped_module_leaves_its_memory() -> None:
    check_leaves_its_memory(lambda: keyfob.drop("tls.alerts", always=True))


def test_a_module_whose_import_failed_leaves_its_memory() -> None:
    folder = "unloading-%x" % id(object())  # several interpreters run this at the same time
    path = folder + "/fails_to_load.py"
    os.mkdir(folder)
    with open(path, "w") as file:
        file.write(FAILS)
    sys.path.insert(0, folder)
    try:
        keyfob.tidy_modules()
        before = in_use()
        for _ in range(ROUNDS):
            try:
                __import__("fails_to_load")
            except MemoryError:
                keyfob.tidy_modules()
            else:
                raise AssertionError("it was loaded")
        assert in_use() - before <= SLACK_BYTES
        assert sys.modules["keyfob"] is keyfob
    finally:
        sys.path.pop(0)
        os.remove(path)
        os.rmdir(folder)


def test_those_to_be_kept_stay() -> None:
    __import__(NAME)
    __import__("keyfob.tls.reasons")
    keyfob.unload("keyfob.tls.alerts", "keyfob.tls.reasons", but=[NAME])
    assert NAME in sys.modules
    assert "keyfob.tls.reasons" not in sys.modules
    assert "reasons" not in sys.modules["keyfob.tls"].__dict__
