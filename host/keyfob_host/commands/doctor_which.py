"""Which board ``keyfob doctor`` is to look at: as other commands say it, or in one word, or none.

One word is the name of a virtual board that is up, one of ``bench.toml``, or a kind, as
``--board`` takes them. With none it is the one board that is up. A serial port names no
kind, so it is never enough.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from shlex import quote

from keyfob_host.bench.file import entry_names, find_entry
from keyfob_host.boards import DEFAULT_KIND, BoardRef, kind_names, load_kind, open_board
from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.home import Home
from keyfob_host.virtual import VirtualBoard, known, running

_REAL_KIND = "esp32"
_PORT_BEGINS = ("/", "COM", "tty", "cu.", "socket:", "rfc2217:", "labgrid:")


def choose_board(
    home: Home,
    word: str | None,
    kind: str | None,
    port: str | None,
    name: str | None,
    on_step: Callable[[str], None] | None = None,
) -> BoardRef:
    """The board meant. ``word``: BOARD of the command line; the others: its options.

    Errors: ``doctor.no-board``, ``doctor.which-board``, ``doctor.which-kind``,
    ``doctor.unknown-board``, those of `open_board`.
    """
    if kind is not None:
        return open_board(kind, port, name=name, home=home, on_step=on_step)
    if word is None and port is not None:
        raise _which_kind(port)
    up = {one.name: str(one.info()["kind"]) for one in running(home)}
    if word is None:
        word, name = name or _only_one(home, up), None
    if word in up and name in (None, word) and port is None:
        return open_board(up[word], name=word, home=home)
    if name is None and find_entry(home, word) is not None:
        return open_board(word, port, home=home, on_step=on_step)
    if word in kind_names() or word.endswith(".toml"):
        return _of_kind(home, word, port, name, up)
    if word in known(home) and name is None and port is None:
        VirtualBoard.attach(home, word)  # says that it is not up, and what starts it
    raise _unknown(home, word, up)


def _of_kind(
    home: Home, kind: str, port: str | None, name: str | None, up: dict[str, str]
) -> BoardRef:
    """As ``--board`` does; of a virtual kind with other names up, those are told."""
    others = [one for one, its_kind in up.items() if its_kind == load_kind(kind).name]
    if name is None and port is None and others:
        raise KeyfobHostError(
            "doctor.which-board", f"of the kind {kind} no board of that name is up",
            evidence=f"up: {', '.join(others)} (in {home.root})",
            fix=f"keyfob doctor {others[0]}", status=ExitStatus.BOARD,
        )  # fmt: skip
    return open_board(kind, port, name=name, home=home)


def _only_one(home: Home, up: dict[str, str]) -> str:
    if len(up) == 1:
        return next(iter(up))
    if up:
        raise KeyfobHostError(
            "doctor.which-board", "more than one board is up: say which",
            evidence=f"up: {', '.join(up)} (in {home.root})",
            fix=f"keyfob doctor {next(iter(up))}", status=ExitStatus.USAGE,
        )  # fmt: skip
    were, named = known(home), entry_names(home)
    real = named[0] if named else "esp32 --port PORT"
    start = were[0] if DEFAULT_KIND not in were and were else DEFAULT_KIND
    option = "" if start in kind_names() else f"{DEFAULT_KIND} --name "
    raise KeyfobHostError(
        "doctor.no-board", "no virtual board is up, and a real one has to be named",
        evidence=f"up: none (in {home.root})",
        fix=f"keyfob board up {option}{start}  # a real one: keyfob doctor {real}",
        status=ExitStatus.USAGE,
    )  # fmt: skip


def _which_kind(port: str) -> KeyfobHostError:
    kinds = [one for one in kind_names() if not load_kind(one).virtual]
    return KeyfobHostError(
        "doctor.which-kind", "a port does not say which kind of board is on it",
        evidence=f"--port {port}; kinds: {', '.join(kinds)}",
        fix=f"keyfob doctor {_REAL_KIND} --port {quote(port)}", status=ExitStatus.USAGE,
    )  # fmt: skip


def _unknown(home: Home, word: str, up: dict[str, str]) -> KeyfobHostError:
    if word.startswith(_PORT_BEGINS):
        return _which_kind(word)
    names = dict.fromkeys([*up, *known(home), *entry_names(home), *kind_names()])
    near = difflib.get_close_matches(word, names, 1, 0.5)
    kinds = ", ".join(kind_names())
    if not near and not up:
        fix = f"keyfob board up {DEFAULT_KIND}"
    else:
        guess = near[0] if near else next(iter(up))
        is_real = guess in kind_names() and not load_kind(guess).virtual
        fix = f"keyfob doctor {guess}" + (" --port PORT" if is_real else "")
    return KeyfobHostError(
        "doctor.unknown-board", f"{word!r} is neither a board that is up nor a kind of board",
        evidence=f"up: {', '.join(up) or 'none'} (in {home.root}); kinds: {kinds}",
        fix=fix, status=ExitStatus.USAGE,
    )  # fmt: skip
