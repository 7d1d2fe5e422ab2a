"""Keyfob's own codes: those of the board, of the host, and of the catalogue of causes.

The board's stand in ``firmware/errors.txt`` with cause and fix, the host's beside the place
that raises them (`keyfob_host.doctor.host_codes`), and are read from there, so that nothing is
told twice.
"""

from __future__ import annotations

import re

from keyfob_host.device_errors import load_device_errors
from keyfob_host.doctor.catalogue import causes_of_device_code, load_catalogue
from keyfob_host.doctor.host_codes import find_host_code
from keyfob_host.doctor.meaning import Meaning

DEVICE_SOURCE = "Keyfob's firmware (firmware/errors.txt)"
HOST_SOURCE = "the keyfob command"
CATALOGUE_SOURCE = "the doctor's catalogue of causes"

CODE = re.compile(r"(?<![\w./-])[a-z0-9]{2,24}(?:-[a-z0-9]{1,24})?\.[a-z0-9-]{2,48}(?![\w./-])")
_RETRY = {
    "wait": "the board tries again by itself",
    "stop": "the board needs a person, and tries again only slowly",
}


def readings(code: str) -> list[Meaning]:
    """What one of Keyfob's codes means; nothing for a word that only looks like one."""
    found = []
    device = load_device_errors().get(code)
    if device is not None:
        words = f"{device.cause} In this case {_RETRY[device.retry]}."
        causes = causes_of_device_code(code)
        found.append(Meaning(code, DEVICE_SOURCE, words, causes, device.fix))
    cause = load_catalogue().get(code)
    if cause is not None:
        found.append(Meaning(code, CATALOGUE_SOURCE, cause.cause, (code,)))
    told = None if found else find_host_code(code)
    return found if told is None else [Meaning(code, HOST_SOURCE, told[0], (), told[1])]
