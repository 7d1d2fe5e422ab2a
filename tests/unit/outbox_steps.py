"""An outbox in a folder of its own, and what is in it."""

import os

from device_support import new_folder, remove_folder

from keyfob.outbox import Outbox

SETTINGS = {"messages": 50, "bytes": 8192, "when_full": "refuse"}
TOPIC = "devices/s/r"
OVERHEAD = 13


def with_folder(test, *arguments):
    """Call ``test(folder, …)`` with a folder for an outbox that does not exist yet."""
    base = new_folder()
    try:
        return test(base + "/outbox", *arguments)
    finally:
        remove_folder(base)


def opened(folder, **settings):
    merged = dict(SETTINGS)
    merged.update(settings)
    return Outbox(merged, folder)


def drained(box):
    """The payloads that it still has, each done once it was given out."""
    payloads = []
    while True:
        message = box.next()
        if not message:
            return payloads
        payloads.append(message[2])
        box.done(message[0])


def segments(folder):
    return sorted(name for name in os.listdir(folder) if len(name) == 8)


def read(path):
    with open(path, "rb") as file:
        return file.read()
