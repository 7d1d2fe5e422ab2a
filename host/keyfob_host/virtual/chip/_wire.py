"""The line from the MicroPython process to its supervisor: one request, one answer.

A request is an operation, a number and a payload; the answer a status and a payload
(see ``rpc.py`` on the other side). Ctrl-C must not end a request half-way, or the
next one would read the rest of its answer; so it is held off meanwhile, as a real
chip holds it off while it programs its flash.
"""

import json
import micropython
import struct

_CALL = const(0)
_PROGRAM = const(1)
_ERASE = const(2)

_file = None
# What Ctrl-C does between requests: 3 interrupts, -1 is held off (while booting).
ctrl_c = -1


def connect(descriptor):
    """Talk over the file ``descriptor``, inherited from the supervisor."""
    global _file
    _file = open(descriptor, "r+b")


def _read(size):
    data = _file.read(size)
    while len(data) < size:
        more = _file.read(size - len(data))
        if not more:
            raise OSError(5)  # the supervisor is gone, and this process with it
        data += more
    return data


def _send(data):
    view = memoryview(data)
    while view:
        view = view[_file.write(view) :]


def _request(operation, number, payload):
    micropython.kbd_intr(-1)
    try:
        _send(struct.pack("<BII", operation, number, len(payload)))
        if payload:
            _send(payload)
        status, size = struct.unpack("<iI", _read(8))
        data = _read(size) if size else b""
    finally:
        micropython.kbd_intr(ctrl_c)
    if status:
        raise OSError(status)
    return data


def program(offset, data):
    """Program the flash at ``offset``."""
    _request(_PROGRAM, offset, data)


def erase(offset, size):
    """Erase the sectors from ``offset`` on."""
    _request(_ERASE, offset, struct.pack("<I", size))


def call(name, **arguments):
    """Ask the supervisor; the answer is what its ``rpc_NAME`` returned."""
    arguments["op"] = name
    return json.loads(_request(_CALL, 0, json.dumps(arguments)))


def hold_ctrl_c(hold):
    """Hold Ctrl-C off (while booting), or let it interrupt."""
    global ctrl_c
    ctrl_c = -1 if hold else 3
    micropython.kbd_intr(ctrl_c)
