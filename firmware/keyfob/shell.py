"""The device shell: commands on the serial console, for a person.

    >>> shell()                          # a prompt; Ctrl-C, Ctrl-D or exit leaves it
    >>> shell("errors x509.expired")     # one command

`main.py` puts `shell` into the REPL; ``from keyfob import shell; shell.start()`` does the
same without it. Each group of commands is a module of its own, imported when it is
used; all of them are dropped when the shell ends. Keys and passwords are never shown.
"""

import asyncio
import gc
import json
import select
import sys

from micropython import const

from keyfob import drop, events
from keyfob.errors import KeyfobError

ERRORS = "/errors.txt"
_PROMPT = "keyfob> "
_LINE_MOST = const(512)
_POLL_MS = const(10)

_HELP = """mqtt connect                     connect to the broker of the settings, and stay so
mqtt publish [-q QOS] [-r] [-s] TOPIC TEXT
                                 publish; -r retained, -s stored over power loss
mqtt subscribe [-q QOS] FILTER   show the messages of a topic filter
mqtt disconnect                  end the connection
mqtt status                      connection, subscriptions, stored messages
time [set]                       Unix seconds; set: ask the time servers
date                             date and time, and whether the clock is set
certs                            the identity: subject, issuer, validity, fingerprint
wifi                             the station: state, address, signal
errors CODE                      cause and fix of an error code, as x509.expired
help                             this
exit                             leave the shell"""
_RETRIES = {
    "  retry: stop": "retry: told at once, retried slowly",
    "  retry: wait": "retry: by itself, soon",
}
# Command -> module with ``run_COMMAND(shell, rest of the line)``.
_COMMANDS = {
    "mqtt": "shell_mqtt",
    "time": "shell_board",
    "date": "shell_board",
    "certs": "shell_board",
    "wifi": "shell_board",
}


def start(line: str = "") -> None:
    """Run the command ``line``, or prompt for commands if there is none."""
    shell = Shell()
    loaded = set(sys.modules)
    # `print` of that module alone, so that events are told in a person's words.
    events.__dict__["print"] = shell.show_event  # ESP8266 has no setattr
    try:
        asyncio.run(shell.run(line) if line else shell.prompt())
    except KeyboardInterrupt:
        print()
    finally:
        try:
            asyncio.run(shell.close())
        finally:
            del events.__dict__["print"]
            asyncio.new_event_loop()
            # All that the commands imported goes with the shell.
            new = [name[7:] for name in sys.modules if name not in loaded and name[:7] == "keyfob."]
            drop("shell", *new, always=True)


class Shell:
    """What commands share: the console, and the connection that outlives a command.

    ``stays``: whether the shell prompts, so that a connection may stay up. ``link``:
    the `keyfob.shell_mqtt.Link`, once a command made one.
    """

    def __init__(self) -> None:
        self.stays = False
        self.link = None
        self._task: asyncio.Task | None = None
        self._typed = ""
        self._is_typing = False

    async def prompt(self) -> None:
        """Read lines and run them until ``exit`` or Ctrl-D."""
        self.stays = True
        self._task = asyncio.current_task()
        print("Keyfob's shell: help lists the commands, exit leaves.")
        while True:
            line = await self._read_line()
            if line is None or line.strip() in ("exit", "quit"):
                return
            await self.run(line)

    async def run(self, line: str) -> None:
        """Run one command; whatever is wrong with it is told with cause and fix."""
        self._task = asyncio.current_task()
        name, rest = first_word(line.strip())
        try:
            if not name:
                return
            if name == "help":
                print(_HELP)
            elif name == "errors":
                self._show_errors(rest)
            elif name in _COMMANDS:
                await getattr(_load(_COMMANDS[name]), "run_" + name)(self, rest)
            else:
                self.refuse("There is no command %r." % name, "help")
        except KeyfobError as error:
            self.show_error(error.code, error.detail)
        except MemoryError as error:
            self.refuse("No memory is left: %s." % error, "exit, then Ctrl-D: a restart frees it")
        except OSError as error:
            self.refuse("The board answers %s." % error, "Try again; help lists the commands.")
        gc.collect()

    async def close(self) -> None:
        """End what still runs; for Ctrl-C in the middle of it, too."""
        if self._task and self._task is not asyncio.current_task():
            self._task.cancel()
        if self.link:
            await self.link.close()

    # -- what a person sees --------------------------------------------------------------

    def say(self, text: str) -> None:
        """Print a line that nobody waited for: above the one that is being typed."""
        if self._is_typing:
            print("\r\x1b[K" + text)
            sys.stdout.write(_PROMPT + self._typed)
        else:
            print(text)

    def refuse(self, cause: str, fix: str) -> None:
        """Why a command did nothing, and what to type instead."""
        self.say("cause: %s\nfix:   %s" % (cause, fix))

    def show_error(self, code: str, detail: str) -> None:
        """An error with its cause and fix from `ERRORS`."""
        # What a broker's certificate says comes to a terminal spelled out, without orders to it.
        lines = ["error: %s%s" % (code, ": " + repr(detail)[1:-1] if detail else "")]
        try:
            lines += _block(code)[1:]
        except OSError:
            lines.append("fix:   keyfob sync (the board has no %s)" % ERRORS)
        self.say("\n".join(lines))

    def show_event(self, line: str) -> None:
        """An event (`keyfob.events`) in words. The link hears of it as well."""
        event = json.loads(line[3:])
        name = event.pop("ev")
        event.pop("t")
        if self.link:
            self.link.heard(name, event)
        if name == "error":
            self.show_error(event["code"], event["detail"])
        elif name not in ("publish", "clock.kept"):
            fields = ["%s=%s" % (key, event[key]) for key in sorted(event)]
            self.say(name + "  " + " ".join(fields))

    def _show_errors(self, code: str) -> None:
        code = code.strip()
        try:
            lines = _block(code) if code else []
            if not lines:
                self._refuse_code(code)
                return
        except OSError as error:
            self.refuse("%s: %s" % (ERRORS, error), "keyfob sync")
            return
        print("\n".join(lines))

    def _refuse_code(self, code: str) -> None:
        similar: list[str] = []
        place = code[: code.find(".") + 1] or code
        with open(ERRORS) as file:
            for line in file:
                if place and line.startswith(place) and len(similar) < 40:
                    similar.append("errors " + line.strip())
        if similar:
            self.refuse("There is no error code %r." % code, "\n       ".join(similar))
        elif code:
            self.refuse("There is no error code %r." % code, "errors mqtt lists those of mqtt")
        else:
            self.refuse("errors wants a code, as an error event has it.", "errors x509.expired")

    # -- the console ---------------------------------------------------------------------

    async def _read_line(self):
        """The line that is typed, without its end; None for Ctrl-D."""
        poll = select.poll()
        poll.register(sys.stdin, select.POLLIN)
        self._typed = ""
        self._is_typing = True
        sys.stdout.write(_PROMPT)
        while self._is_typing:
            while not poll.poll(0):
                await asyncio.sleep_ms(_POLL_MS)
            character = sys.stdin.read(1)
            if not character or (character == "\x04" and not self._typed):
                self._is_typing = False
                print()
                return None
            self._take(character)
        print()
        return self._typed

    def _take(self, character: str) -> None:
        if character in "\r\n":
            self._is_typing = False
        elif character in "\b\x7f":
            if self._typed:
                self._typed = self._typed[:-1]
                sys.stdout.write("\b \b")
        elif character >= " " and len(self._typed) < _LINE_MOST:
            self._typed += character
            sys.stdout.write(character)
        else:
            sys.stdout.write("\x07")  # a control character, or one too many: the bell


def first_word(text: str) -> tuple:
    """(first word, the rest with its spaces); empty where there is none."""
    words = text.split(None, 1)
    return words[0] if words else "", words[1] if len(words) > 1 else ""


def _load(name: str):
    return getattr(__import__("keyfob." + name), name)


def _block(code: str) -> list:
    """The lines of ``code`` in `ERRORS`, which is read line by line: it is larger than
    a small heap. Empty if it is not there."""
    found: list = []
    with open(ERRORS) as file:
        for line in file:
            line = line.rstrip()
            if found and not line:
                break
            if found:
                found.append(_RETRIES.get(line) or line[2:])
            elif line == code and code[:1] != "#":
                found.append(code)
    return found
