"""The table of names at the head of a ``.mpy`` file: read it, and put another in its place.

A compiled file says each of its names once, in this table, and its bytecode refers to
them by their place in it. So names can be exchanged without a look at the bytecode. The
format is version 6, MicroPython's py/persistentcode.c: ``M``, version, flags, bits of a
small integer; the number of names and of objects; then each name, as the number of one
that every interpreter has, or as length, bytes and a zero. Not checked: what follows.
"""

from __future__ import annotations

from keyfob_host.rom_names import STATIC

_HEADER = b"M\x06"
# On 32-bit ports a name is 2 bytes of a table in words of 4, and a block of heap 16 bytes.
_NAMES_A_BLOCK = 8
_HEADER_BYTES = 4
_STATIC = dict(enumerate(STATIC, 1))
_NUMBER = {name: number for number, name in _STATIC.items()}


def read_names(data: bytes) -> list[str]:
    """The names of a compiled file in their order; the first is what tracebacks call it.

    Raises ValueError if ``data`` is no .mpy file of version 6.
    """
    return _read(data)[0]


def with_names(data: bytes, names: list[str]) -> bytes:
    """The same file with ``names`` in the place of its own, as many of them."""
    old, objects, end = _read(data)
    if len(names) != len(old):
        raise ValueError(f"{len(names)} names for a table of {len(old)}")
    table = b"".join(map(_entry, names))
    return data[:_HEADER_BYTES] + _varuint(len(names)) + _varuint(objects) + table + data[end:]


def with_more_names(data: bytes, more: list[str]) -> bytes:
    """The same file with further names in its table, which nothing in it refers to."""
    old, objects, end = _read(data)
    names = old + [name for name in more if name not in old]
    table = b"".join(map(_entry, names))
    return data[:_HEADER_BYTES] + _varuint(len(names)) + _varuint(objects) + table + data[end:]


def without_open_end(data: bytes) -> bytes:
    """The same file, perhaps with a name or two more that cost nothing, so that its module
    keeps nothing on the heap that is not its own.

    MicroPython 1.25 to 1.29 (py/bc.h, `mp_module_context_alloc_tables`) puts a module's
    constants behind its names, into one piece of heap, and remembers where they begin. Of a
    module without constants that is where the piece ends; and if the names fill their blocks,
    it is the next piece, whatever lies there, now or later: the collector never frees it.
    A connection that was over so stayed on the heap, with the 5 KB of its handshake.
    """
    names, objects, _ = _read(data)
    rest = len(names) % _NAMES_A_BLOCK
    if objects or 0 < rest < _NAMES_A_BLOCK - 1:
        return data
    spare = [name for name in STATIC if name not in names]
    return with_more_names(data, spare[: 1 if rest == 0 else 2])


def _read(data: bytes) -> tuple[list[str], int, int]:
    """Names, number of objects, and where the table ends."""
    if data[:2] != _HEADER:
        raise ValueError(f"no .mpy file of version 6: begins with {data[:2]!r}")
    try:
        count, at = _read_varuint(data, _HEADER_BYTES)
        objects, at = _read_varuint(data, at)
        names = []
        for _ in range(count):
            value, at = _read_varuint(data, at)
            if value & 1:
                names.append(_STATIC[value >> 1])
            else:
                end = at + (value >> 1)
                names.append(data[at:end].decode())
                if data[end] != 0:
                    raise ValueError(f"name at byte {at} does not end where it should")
                at = end + 1
    except (IndexError, KeyError):
        raise ValueError(f"no name where one should be, at byte {at}") from None
    return names, objects, at


def _entry(name: str) -> bytes:
    if name in _NUMBER:
        return _varuint(_NUMBER[name] << 1 | 1)
    text = name.encode()
    return _varuint(len(text) << 1) + text + b"\0"


def _read_varuint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    while True:
        byte = data[at]
        at += 1
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            return value, at


def _varuint(value: int) -> bytes:
    out = [value & 0x7F]
    while value := value >> 7:
        out.append(value & 0x7F | 0x80)
    return bytes(reversed(out))
