"""How deep the calls of a virtual ESP8266 go, and through which functions.

`StackProbe` puts a few instructions into the running 32-bit MicroPython of a virtual board,
where that asks whether a call still has room on the stack (``mp_cstack_check``): the most that
was in use is noted, with a copy of the stack then. The firmware runs as it is. What is called
below an import is not counted, as the board lets that alone (see ``limit_stack`` of its
``_native.py``). Two figures: of all calls, the port's own modules included, which are machine
code on a chip; and of the firmware's own.

It knows the one build of MicroPython that `tools/micropython32.py` fetches, and refuses others.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import signal
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

LIMIT_BYTES = 8496  # what the virtual board allows, `_CHIP_LIMIT` of its _native.py
_CHECK_AT = 0x2DE70  # cmp esi, [eax+4]; jae: esi is what is in use, eax the thread's state
_CHECK = bytes.fromhex("3b70047313")
_CALL_AT = 0x34ED4  # in fun_bc_call, ebp being its frame
_CALL = bytes.fromhex("8b75088b45148975d08945c8")
_CALL_RETURN = 0x34EF3  # from its check
_FUNCTION_AT = 0xB0524  # the type of a function in bytecode
_CODE_AT = 768  # in the board's page of machine code
_ALL_AT, _OWN_AT, _COPY_AT = 1024, 1028, 1032  # the two figures, and where the copies are
# The copies lie on the stack itself, far below what anything reaches.
_COPIES_AT = (96_000, 128_000)


# Of each module, what its names are where a board has shorter ones (`keyfob_host.names`).
Names = dict[str, dict[str, str]]


class StackProbe:
    """``chip_pid``: a function, the process that plays the chip now or None.

    The process stops wherever it goes deeper than before, until `watch` has looked.
    """

    def __init__(self, chip_pid: Callable[[], int | None], names: Names) -> None:
        self._chip_pid = chip_pid
        self._names = names
        self._found: dict[int, _Process] = {}
        self.deepest: list[tuple[int, list[str]]] = [(0, []), (0, [])]

    def watch(self) -> None:
        """Look at the process that runs now; to be called often, as a reset is another one."""
        pid = self._chip_pid()
        if pid is None:
            return
        try:
            if pid not in self._found:
                self._found[pid] = _Process(pid, self._names)
            one = self._found[pid]
            for index, most in enumerate(one.most()):
                if most > self.deepest[index][0]:
                    self.deepest[index] = most, one.chain(index)
            one.go_on()
        except (OSError, struct.error, _NotYet):  # it has ended, or begins only
            self._found.pop(pid, None)

    def begin(self) -> None:
        """Forget what was seen: another story begins."""
        self.watch()
        for one in self._found.values():
            with contextlib.suppress(OSError):
                one.forget()
        self.deepest = [(0, []), (0, [])]


class _NotYet(Exception):
    """The process has not come so far that it can be watched."""


class _Process:
    def __init__(self, pid: int, names: Names) -> None:
        self._short = names
        self._pid = pid
        self._memory = os.open(f"/proc/{pid}/mem", os.O_RDWR)
        try:
            self._maps = list(_maps(pid))
            self._base = next(start for start, _, _, name in self._maps if "/micropython" in name)
            self._install()
        except (StopIteration, OSError, _NotYet) as error:
            os.close(self._memory)
            raise _NotYet from error
        self._names: dict[int, str] = {}

    def _install(self) -> None:
        check = self._base + _CHECK_AT
        if self._read(self._base + _CALL_AT, len(_CALL)) != _CALL:
            raise NotImplementedError("not the MicroPython that this was written for")
        self._page = self._code_page()
        if self._read(check, len(_CHECK)) != _CHECK:
            return  # it is there already
        images = [one for one in self._maps if one[3].endswith(".romfs") or "port" in one[3]]
        port = (images[0][0], images[-1][1]) if images else (0, 0)
        code = _hook(self._page, self._base, port)
        os.kill(self._pid, signal.SIGSTOP)
        self._write(self._page + _CODE_AT, code)
        jump = self._page + _CODE_AT - (check + 5)
        self._write(check, b"\xe9" + struct.pack("<i", jump))
        os.kill(self._pid, signal.SIGCONT)

    def _code_page(self) -> int:
        for start, end, mode, _ in self._maps:
            if "x" in mode and "w" in mode:
                for page in range(start, end, 4096):
                    if self._read(page, 2) == b"\x81\x3d" and struct.unpack(
                        "<I", self._read(page + 6, 4)
                    ) == (LIMIT_BYTES,):
                        return page
        raise _NotYet

    def forget(self) -> None:
        self._write(self._page + _ALL_AT, bytes(8))

    def most(self) -> tuple[int, int]:
        """Bytes, of all calls and of the firmware's own."""
        all_bytes, own_bytes = struct.unpack("<2I", self._read(self._page + _ALL_AT, 8))
        return all_bytes, own_bytes

    def go_on(self) -> None:
        state = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()[0]
        if state == "T":
            os.kill(self._pid, signal.SIGCONT)

    def chain(self, index: int) -> list[str]:
        """The functions of that figure, outermost first."""
        self._maps = list(_maps(self._pid))
        (start,) = struct.unpack("<I", self._read(self._page + _COPY_AT + 4 * index, 4))
        stack = self._read(start, self.most()[index])
        words = struct.unpack(f"<{len(stack) // 4}I", stack[: len(stack) // 4 * 4])
        chain = []
        for before, word in itertools.pairwise(words):
            if not self._base < before < self._base + 0x80000:
                continue  # not an argument behind the address that a call returns to
            name = self._name(word)
            if name:
                chain.append(name)
        chain.reverse()
        return [one for at, one in enumerate(chain) if not at or chain[at - 1] != one]

    def _name(self, function: int) -> str:
        if function & 3 or not any(
            start <= function < end and "rw" in mode for start, end, mode, _ in self._maps
        ):
            return ""
        try:
            kind, context, _, code = struct.unpack("<4I", self._read(function, 16))
            if kind != self._base + _FUNCTION_AT:
                return ""
            _, _, names = struct.unpack("<3I", self._read(context, 12))
            at = _behind_sizes(self._read(code, 16))
            index = at[1]
            file, name = (
                struct.unpack("<H", self._read(names + 2 * one, 2))[0] for one in (0, index)
            )
            module, found = Path(self._text(file)).name, self._text(name)
            return f"{module}:{self._short.get(module, {}).get(found, found)}"
        except (OSError, struct.error, IndexError):
            return ""

    def _text(self, qstr: int) -> str:
        if qstr not in self._names:
            for pool, before, count in self._pools():
                if before <= qstr < before + count:
                    (text,) = struct.unpack("<I", self._read(pool + 24 + 4 * (qstr - before), 4))
                    self._names[qstr] = self._read(text, 64).split(b"\0")[0].decode()
                    break
        return self._names.get(qstr, f"?{qstr}")

    def _pools(self) -> list[tuple[int, int, int]]:
        found = []
        for start, end, mode, name in self._maps:
            if "rw" not in mode or name not in ("", "[heap]"):
                continue
            try:
                data = self._read(start, end - start)
            except OSError:
                continue  # it is gone
            for at in range(0, len(data) - 24, 4):
                prev, before, _, count, hashes, lengths = struct.unpack_from("<6I", data, at)
                size = hashes - (start + at + 24)
                is_pool = 0 < size < 65_536 and lengths - hashes == size // 2
                if is_pool and not hashes & 3 and count <= size // 4:
                    found.append((start + at, before & 0x7FFFFFFF, count))
                    while prev:
                        at_prev = prev
                        prev, before, _, count = struct.unpack("<4I", self._read(at_prev, 16))
                        found.append((at_prev, before & 0x7FFFFFFF, count))
        return found

    def _read(self, address: int, count: int) -> bytes:
        return os.pread(self._memory, count, address)

    def _write(self, address: int, data: bytes) -> None:
        os.pwrite(self._memory, data, address)


def _behind_sizes(code: bytes) -> tuple[int, int]:
    """(offset, index of the name) behind the two sizes that a function begins with (py/bc.h)."""
    at = 0
    for _ in range(2):
        while code[at] & 128:
            at += 1
        at += 1
    index = 0
    while True:
        index = index << 7 | code[at] & 127
        at += 1
        if not code[at - 1] & 128:
            return at, index


def _maps(pid: int) -> Iterator[tuple[int, int, str, str]]:
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        found = re.match(r"(\w+)-(\w+) (\S+) \S+ \S+ \S+ *(.*)", line)
        if found:
            yield int(found[1], 16), int(found[2], 16), found[3], found[4]


def _hook(page: int, base: int, port: tuple[int, int]) -> bytes:
    """What `_CHECK` becomes: note a new most, then go on as before."""
    code = bytearray()

    def jump(opcode: bytes, target: int) -> None:
        code.extend(opcode)
        code.extend(struct.pack("<i", target - (page + _CODE_AT + len(code) + 4)))

    marks: list[tuple[int, str]] = []
    places: dict[str, int] = {}

    def near(opcode: int, mark: str) -> None:
        code.extend((0x0F, opcode))
        marks.append((len(code), mark))
        code.extend(bytes(4))

    def address(number: int) -> bytes:
        return struct.pack("<I", number)

    code += b"\x3b\x70\x04"  # cmp esi, [eax+4]
    jump(b"\x0f\x83", base + 0x2DE88)  # jae: too deep
    code += b"\x81\x78\x04" + address(LIMIT_BYTES)  # cmp dword [eax+4], limit
    near(0x85, "done")  # jne: below an import
    code += b"\x3b\x35" + address(page + _ALL_AT)  # cmp esi, [all]
    near(0x86, "own")  # jbe
    code += b"\x89\x35" + address(page + _ALL_AT)  # mov [all], esi
    code += _copy(page + _COPY_AT, _COPIES_AT[0])
    places["own"] = len(code)
    code += b"\x81\x7c\x24\x1c" + address(base + _CALL_RETURN)  # cmp dword [esp+28], …
    near(0x85, "done")
    code += b"\x8b\x4d\x08\x8b\x49\x0c"  # mov ecx, [ebp+8]; mov ecx, [ecx+12]: its bytecode
    code += b"\x81\xf9" + address(port[0])
    near(0x82, "ours")  # jb
    code += b"\x81\xf9" + address(port[1])
    near(0x82, "done")  # jb: the port's
    places["ours"] = len(code)
    code += b"\x3b\x35" + address(page + _OWN_AT)
    near(0x86, "done")
    code += b"\x89\x35" + address(page + _OWN_AT)
    code += _copy(page + _COPY_AT + 4, _COPIES_AT[1])
    places["done"] = len(code)
    jump(b"\xe9", base + 0x2DE75)
    for at, mark in marks:
        code[at : at + 4] = struct.pack("<i", places[mark] - (at + 4))
    return bytes(code)


def _copy(pointer: int, below: int) -> bytes:
    """Copy the ``esi`` bytes above esp to so far below esp, and note where that is."""
    code = b"\x60"  # pushad
    code += b"\x89\xf1\xc1\xe9\x02"  # mov ecx, esi; shr ecx, 2
    code += b"\x8d\x74\x24\x20"  # lea esi, [esp+32]
    code += b"\x8d\xbe" + struct.pack("<i", -below)  # lea edi, [esi-below]
    code += b"\x89\x3d" + struct.pack("<I", pointer)  # mov [pointer], edi
    code += b"\xfc\xf3\xa5"  # cld; rep movsd
    # kill(getpid(), SIGSTOP), for `StackProbe.watch`
    code += b"\xb8\x14\0\0\0\xcd\x80\x89\xc3\xb9\x13\0\0\0\xb8\x25\0\0\0\xcd\x80"
    return code + b"\x61"  # popad
