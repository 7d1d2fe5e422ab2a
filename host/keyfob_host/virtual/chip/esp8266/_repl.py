"""The prompt: friendly, raw and raw-paste, as pyexec.c of the port has them.

The 32-bit unix port has no raw REPL, so this one plays all three. A line can be
edited at its end only; there is no history and no completion.
"""

import sys
import termios

import _program
import _wire

_A, _B, _C, _D, _E = b"\x01\x02\x03\x04\x05"
_LFLAG = const(3)
_WINDOW = const(128)
_COMPOUND = ("if ", "while ", "for ", "try", "with ", "def ", "class ", "async ", "@")
_RAW_BANNER = "raw REPL; CTRL-B to exit\r\n"

_compile, _exec = compile, exec
_byte = bytearray(1)


class Repl:
    """One REPL, until it is left for a soft reset. ``main``: the names that code sees."""

    def __init__(self, banner, main, paste):
        self._banner = banner
        self._main = main
        self._paste = paste  # memory for pasted source; the chip compiles it as it comes
        self._out = sys.stdout
        self._modes = termios.tcgetattr(0)

    def run(self):
        """Serve until Ctrl-D on an empty line, or SystemExit."""
        raw = False
        self._reading(True)
        while raw is not None:
            raw = self._raw() if raw else self._friendly()
        self._reading(False)

    def input(self, prompt=""):
        """The builtin: the unix port's own throws away what was typed behind the line."""
        self._put(str(prompt))
        while True:
            line = self._line()
            if not isinstance(line, int):
                return line
            if line == _C:
                raise KeyboardInterrupt
            if line == _D:
                raise EOFError

    # -- the terminal

    def _reading(self, on):
        """Tell the supervisor who takes what is typed: this, or the program."""
        modes = list(self._modes)
        if on:
            modes[_LFLAG] = 0
        termios.tcsetattr(0, termios.TCSANOW, modes)

    def _get(self):
        if not sys.stdin.buffer.readinto(_byte):
            raise SystemExit
        return _byte[0]

    def _put(self, text):
        self._out.write(text)

    # -- running code

    def _execute(self, code, single):
        """Run ``code``; the error that ended it, or None."""
        self._reading(False)
        with _program.Guard() as guard:
            _wire.let_ctrl_c()
            if single:
                _exec(_compile(code, "<stdin>", "single"), self._main)
            else:
                _exec(code, self._main)
        self._reading(True)
        return guard.error

    # -- the three prompts; each returns whether the raw one is next, None for a soft reset

    def _friendly(self):
        self._put(">>> ")
        text = self._line()
        if isinstance(text, int):
            if text == _A:
                return True
            if text == _B:
                self._put("\r\n" + self._banner)
            elif text == _D:
                self._put("\r\n")
                return None
            elif text == _E:
                return self._finish(self._pasted(), False)
            else:
                self._put("\r\n")
            return False
        while _wants_more(text):
            self._put("... ")
            more = self._line()
            if isinstance(more, int):
                self._put("\r\n")
                return False
            text += "\n" + more
        return self._finish(text, True)

    def _finish(self, text, single):
        error = self._execute(text, single) if text.strip() else None
        if isinstance(error, SystemExit):
            return None
        if error is not None:
            _program.print_exception(error, '"<string>"', '"<stdin>"')
        return False

    def _line(self):
        """A line without its end, or the control character that was typed instead of one."""
        line = bytearray()
        while True:
            byte = self._get()
            if byte in b"\r\n":
                self._put("\r\n")
                return line.decode()
            if byte == _C or (byte <= _E and not line):
                return byte
            if byte in b"\x08\x7f":
                if line:
                    line = line[:-1]
                    self._put("\b \b")
            elif byte >= 32 or byte == 9:
                line.append(byte)
                self._out.buffer.write(_byte)

    def _pasted(self):
        self._put("\r\npaste mode; Ctrl-C to cancel, Ctrl-D to finish\r\n=== ")
        text = bytearray()
        while True:
            byte = self._get()
            if byte == _C:
                self._put("\r\n")
                return ""
            if byte == _D:
                self._put("\r\n")
                return text.decode()
            text.append(10 if byte == 13 else byte)
            if byte == 13:
                self._put("\r\n=== ")
            else:
                self._out.buffer.write(_byte)

    def _raw(self):
        self._put(_RAW_BANNER)
        while True:
            self._put(">")
            code = self._raw_line()
            if isinstance(code, int):
                if code == _B:
                    self._put("\r\n" + self._banner)
                    return False
                self._put(_RAW_BANNER)
                continue
            if not code:
                self._put("OK\r\n")
                return None
            error = self._execute(code, False)
            self._put("\x04")
            if isinstance(error, SystemExit):
                self._put("\x04")
                return None
            if error is not None:
                _program.print_exception(error, '"<string>"', '"<stdin>"')
            self._put("\x04")

    def _raw_line(self):
        """Source up to Ctrl-D, announced; or Ctrl-A or Ctrl-B."""
        code = bytearray()
        while True:
            byte = self._get()
            if byte == _A:
                if bytes(code) == b"\x05A":
                    self._out.buffer.write(b"R\x01\x80\x00\x01")
                    return self._raw_pasted()
                return byte
            if byte == _B:
                return byte
            if byte == _C:
                code = bytearray()
            elif byte == _D:
                if code:
                    self._put("OK")
                return code
            else:
                code.append(byte)

    def _raw_pasted(self):
        """Source that comes as fast as it is read; each half window is acknowledged."""
        count = 0
        while True:
            byte = self._get()
            if byte == _D:
                self._put("\x04")
                # An empty one is no soft reset: something must be run.
                return memoryview(self._paste)[:count] if count else b"\n"
            if byte == _C:
                self._put("\x04")
                return b"raise KeyboardInterrupt"
            self._paste[count] = byte
            count += 1
            if count % _WINDOW == 0:
                self._put("\x01")


def _wants_more(text):
    """Whether a statement goes on behind ``text``: a block not closed by an empty line, an
    open bracket or string, a backslash at the end."""
    if text.endswith("\\"):
        return True
    depth, quote, index = 0, "", 0
    while index < len(text):
        if quote:
            if text[index] == "\\":
                index += 1
            elif text.startswith(quote, index):
                index += len(quote) - 1
                quote = ""
        elif text[index] in "\"'":
            quote = text[index] * (3 if text.startswith(text[index] * 3, index) else 1)
            index += len(quote) - 1
        elif text[index] == "#":
            index = text.find("\n", index) if "\n" in text[index:] else len(text)
        elif text[index] in "([{":
            depth += 1
        elif text[index] in ")]}":
            depth -= 1
        index += 1
    if depth > 0 or len(quote) == 3:
        return True
    return text.lstrip().startswith(_COMPOUND) and not text.endswith("\n")
