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


_head = bytearray(9)
_answer = bytearray(8)


def _send(data):
    sent = _file.write(data)
    while sent < len(data):
        sent += _file.write(memoryview(data)[sent:])


def _receive(buffer):
    got = _file.readinto(buffer)
    while got < len(buffer):
        more = _file.readinto(memoryview(buffer)[got:])
        if not more:
            raise OSError(5)  # the supervisor is gone, and this process with it
        got += more


def _ask(operation, number, payload):
    """Send a request and receive the head of its answer.

    Allocates nothing: LittleFS calls this in the middle of its work, and garbage
    collection there would close forgotten files, and with them enter it again.
    """
    struct.pack_into("<BII", _head, 0, operation, number, len(payload))
    _send(_head)
    if payload:
        _send(payload)
    _receive(_answer)


def _check():
    status = _answer[0] | _answer[1] << 8
    if status:
        raise OSError(status)


def program(offset, data):
    """Program the flash at ``offset``."""
    micropython.kbd_intr(-1)
    try:
        _ask(_PROGRAM, offset, data)
    finally:
        micropython.kbd_intr(ctrl_c)
    _check()


def erase(offset):
    """Erase the sector at ``offset``."""
    micropython.kbd_intr(-1)
    try:
        _ask(_ERASE, offset, b"")
    finally:
        micropython.kbd_intr(ctrl_c)
    _check()


def call(name, **arguments):
    """Ask the supervisor; the answer is what its ``rpc_NAME`` returned."""
    arguments["op"] = name
    micropython.kbd_intr(-1)
    try:
        _ask(_CALL, 0, json.dumps(arguments).encode())
        data = bytearray(struct.unpack_from("<I", _answer, 4)[0])
        if data:
            _receive(data)
    finally:
        micropython.kbd_intr(ctrl_c)
    _check()
    return json.loads(data)


def hold_ctrl_c(hold):
    """Hold Ctrl-C off (while booting), or let it interrupt."""
    global ctrl_c
    ctrl_c = -1 if hold else 3
    micropython.kbd_intr(ctrl_c)
