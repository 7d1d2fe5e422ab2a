"""The line from the MicroPython process to its supervisor: one request, one answer.

A request is an operation, a number and a payload; the answer a status and a payload
(see ``rpc.py`` on the other side). A KeyboardInterrupt in the middle of a request would
leave the next one with the rest of its answer, and one in the middle of `program` would
also leave LittleFS, which calls it, half-way through. MicroPython raises it only where
the bytecode jumps and where a system call is interrupted. So between asking and having
the answer nothing here branches or loops, and the supervisor does not signal while a
request is under way: it answers a call that Ctrl-C may end with a mark.
"""

import json
import micropython
import struct

_CALL = const(0)
_PROGRAM = const(1)
_ERASE = const(2)
_HELD_CALL = const(3)
_REWRITE = const(4)
_EIO = const(5)
_ANSWER_BYTES = const(8192)

_file = None
# How calls are made: of code that Ctrl-C interrupts, or does not (while booting).
_operation = _HELD_CALL


def connect(descriptor, memory=bytearray):
    """Talk over the file ``descriptor``, inherited from the supervisor.

    ``memory(size)`` gives the place for answers.
    """
    global _file, _text
    _file = open(descriptor, "r+b")
    # Made once: making room between the parts of an answer may collect garbage, and with
    # it close forgotten files, whose last writes would come in between.
    _text = memory(_ANSWER_BYTES)


_head = bytearray(9)
_answer = bytearray(8)
_text = None


def _ask(operation, number, payload):
    """Send a request, receive the answer. No branch, no loop, no allocation: see above."""
    struct.pack_into("<BII", _head, 0, operation, number, len(payload))
    _answer[0] = _EIO  # if the supervisor is gone, and this process with it
    _file.write(_head)
    _file.write(payload)
    _file.readinto(_answer)
    _file.readinto(_text, _answer[4] | _answer[5] << 8)


def _succeeded(status):
    pass


def _failed(status):
    raise OSError(status)


_RESULT = (_succeeded, _failed)


def _check():
    status = _answer[0] | _answer[1] << 8
    _RESULT[status != 0](status)


def program(offset, data):
    """Program the flash at ``offset``."""
    _ask(_PROGRAM, offset, data)
    _check()


def rewrite(offset, data):
    """Program the flash at ``offset``, whose sectors are erased and otherwise kept."""
    _ask(_REWRITE, offset, data)
    _check()


def erase(offset):
    """Erase the sector at ``offset``."""
    _ask(_ERASE, offset, b"")
    _check()


def call(name, **arguments):
    """Ask the supervisor; the answer is what its ``rpc_NAME`` returned."""
    arguments["op"] = name
    _ask(_operation, 0, json.dumps(arguments).encode())
    if _answer[2]:
        raise KeyboardInterrupt
    _check()
    return json.loads(_text[: _answer[4] | _answer[5] << 8])


def hold_ctrl_c():
    """Hold Ctrl-C off. No branch: whoever calls this is safe from when it returns."""
    global _operation
    micropython.kbd_intr(-1)
    _operation = _HELD_CALL


def let_ctrl_c():
    """Let Ctrl-C interrupt."""
    global _operation
    _operation = _CALL
    micropython.kbd_intr(3)


def repl_follows():
    """The program is over; from now on the REPL says when Ctrl-C interrupts."""
    global _operation
    call("repl")
    _operation = _CALL
