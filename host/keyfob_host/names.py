"""Give compiled modules names that a board has already, so that theirs cost it no heap.

MicroPython keeps every name of every module that it loads, for ever: 7 bytes each, in
pools that double, wherever the module lies. A name that stands in the interpreter's own
read-only memory costs nothing. So names that nothing but the firmware itself uses are
replaced by such names, all over the firmware at once. Only the table of names at the
head of each .mpy file changes (`keyfob_host.qstr_table`); tracebacks keep module and
line, and name another function.

Which names are replaced:

1. In the compiled modules of ``keyfob`` only. All others (``boot.py``, ``main.py``,
   ``apps``) keep every name, and a name that occurs in one of them is kept everywhere.
2. Never what `PUBLIC` lists, which is what applications are told to use, and never a
   parameter of such a function.
3. Never a name that may be said as a string: no string of the firmware, and no part of
   one between dots. Where a module makes names when it runs (``getattr`` with a variable,
   ``__dict__``), no word of any of its strings either, nor a name that begins or ends
   with a string that it joins to something.
4. Never a module, a special name (``__x__``), a name that a port of MicroPython knows, or
   one imported from a module that is not ours.
5. Never a keyword of a call, unless all that has the name of what is called are functions
   of ours, without ``**``, of which one takes it; nor a parameter of what is called with
   ``**``.

What they are replaced by:

- An attribute, and whatever else one module can say of another's, by a name that occurs
  nowhere in the firmware and stands for this one name everywhere.
- What only its own module uses, by one that stands for one name in each module.
- A parameter that nobody passes by its name, by ``*``, as mpy-cross itself calls one that
  it has no name for.

An application in the folder may use whatever it likes, as what it names is kept. One that
comes to the board in another way has what `PUBLIC` lists, and must not derive a class
from one of Keyfob's, which may have a replaced attribute of the same name. All files of
one sync belong together; mix none of two.
"""

from __future__ import annotations

import keyword
import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from keyfob_host.errors import KeyfobHostError
from keyfob_host.mpy import BoardFile
from keyfob_host.name_roles import Roles, read_roles
from keyfob_host.qstr_table import read_names, with_names
from keyfob_host.rom_names import ELSEWHERE, IN_ESP8266_ROM, IN_EVERY_ROM, LOOKED_UP, STATIC

# What applications are told to use, by the module that defines it.
PUBLIC = {
    "keyfob": "drop plenty_bytes",
    "keyfob.blocking": (
        "BlockingClient connect run_once publish subscribe unsubscribe receive disconnect close"
    ),
    "keyfob.client": (
        "Client config status_topic will clock version session_present is_connected connected "
        "publish messages subscribe unsubscribe"
    ),
    "keyfob.clock": "is_set now_s",
    "keyfob.config": "PATH load check check_section",
    "keyfob.errors": "KeyfobError code detail",
    "keyfob.events": "emit emit_error now_ms",
    "keyfob.inbox": (
        "Message topic payload qos retain properties Inbox topic_filter get acknowledge close run"
    ),
    # What the host calls, and what a driver of a secure element has and may use.
    "keyfob.key_maker": "start keep waiting check key make",
    "keyfob.outbox": "Outbox put count size",
    "keyfob.pki.private_key_ec": "kind slot public_key sign is_locked encode_signature",
    "keyfob.receiving": "Message topic payload qos retain properties",
    "keyfob.streamed": "StreamedMessage size",
}
_PACKAGE = "keyfob"
_NAMELESS = "*"
_ESP8266_ONLY = frozenset(IN_ESP8266_ROM)
_KNOWN = frozenset((*STATIC, *IN_EVERY_ROM, *IN_ESP8266_ROM, *ELSEWHERE))


@dataclass
class _Module:
    """A module of the board: its file, its name, its table (of compiled ones), its roles."""

    file: BoardFile
    name: str
    table: list[str]
    roles: Roles

    @property
    def is_ours(self) -> bool:
        return self.name.split(".")[0] == _PACKAGE


def merge_names(sources: Path, files: list[BoardFile]) -> list[BoardFile]:
    """``files`` in the same order, the compiled ones of ``keyfob`` with replaced names.

    ``sources`` is the folder that they were made from; the same sources give the same
    bytes. With a module of ``keyfob`` that is not compiled, all stay as they are. Errors:
    ``sync.names-failed``.
    """
    renames = replacements(sources, files)
    return [
        replace(file, data=_renamed(file.data, renames[file.path]))
        if file.path in renames
        else file
        for file in files
    ]


def replacements(sources: Path, files: list[BoardFile]) -> dict[str, dict[str, str]]:
    """For each compiled file of ``keyfob``, by its path, what replaces which of its names."""
    modules = [
        _module(sources, file, _packages(files))
        for file in files
        if file.path.endswith((".py", ".mpy"))
    ]
    ours = [module for module in modules if module.is_ours]
    if not all(module.table for module in ours):
        return {}
    firmware = _Firmware(ours, [module for module in modules if not module.is_ours])
    return {module.file.path: firmware.renames(module) for module in ours}


def _renamed(data: bytes, new: dict[str, str]) -> bytes:
    return with_names(data, [new.get(name, name) for name in read_names(data)])


def _packages(files: list[BoardFile]) -> set[str]:
    return {file.path.split("/")[1] for file in files if file.path.count("/") > 1}


def _module(sources: Path, file: BoardFile, packages: set[str]) -> _Module:
    stem, _, kind = file.path[1:].rpartition(".")
    name = stem.replace("/", ".").removesuffix(".__init__")
    try:
        roles = read_roles((sources / f"{stem}.py").read_text("utf-8"), packages)
        table = read_names(file.data) if kind == "mpy" else []
    except (OSError, ValueError, SyntaxError) as error:
        raise KeyfobHostError(
            "sync.names-failed", f"the names of {file.path} cannot be read",
            evidence=f"{type(error).__name__}: {error}",
            fix="correct the file, or leave names as they are: keyfob sync --names full",
        ) from None  # fmt: skip
    return _Module(file, name, table, roles)


class _Firmware:
    """All modules together, and what their names become."""

    def __init__(self, ours: list[_Module], others: list[_Module]) -> None:
        self._ours = ours
        self._others = others
        self._all = [module.roles for module in (*ours, *others)]
        self._functions = [function for roles in self._all for function in roles.functions]
        self._bases = {name: bases for roles in self._all for name, bases in roles.bases.items()}
        self._in_dicts = self._passed_in_dicts()
        self._passed = self._passed_by_name()
        self._kept = self._names_to_keep()
        self._shared = self._names_shared()
        targets = self._free_targets()
        # Each module's own names first: one target serves them in every module.
        most = max(len(self._own(module)) for module in ours) if ours else 0
        self._own_targets = targets[:most]
        self._new = self._choose_shared(targets[most:])

    def renames(self, module: _Module) -> dict[str, str]:
        """What replaces the names of ``module``; names that stay are left out."""
        new = _choose(self._own(module), self._own_targets)
        for name in module.table[1:]:
            if self._is_nameless(module, name):
                new[name] = _NAMELESS
            elif name in self._new:
                new[name] = self._new[name]
        return new

    # -- what is kept ------------------------------------------------------------------

    def _passed_in_dicts(self) -> set[str]:
        """Parameters of functions that are called with ``**``."""
        starred = {called for roles in self._all for called in roles.starred}
        return {
            name
            for function in self._functions
            if starred & {"", function.name, function.owner}
            for name in (*function.parameters, *function.keyword_only)
        }

    def _passed_by_name(self) -> set[str]:
        """Parameters that a caller says by their names, or may."""
        passed = {name for roles in self._all for _, name in roles.keywords} | self._in_dicts
        for function in self._functions:
            passed.update(function.keyword_only)
        return passed

    def _names_to_keep(self) -> set[str]:
        kept = set(_KNOWN) | self._uncertain_keywords() | self._in_dicts
        for roles in self._all:
            kept |= roles.strings | roles.foreign
            if roles.looks_up:
                kept |= roles.words
            kept.update(piece for name in roles.modules for piece in name.split("."))
        for module in (*self._ours, *self._others):
            kept.update(module.name.split("."))
        for module in self._others:
            kept |= module.roles.names
        for module in self._ours:
            kept |= _public(module)
        makers = [roles for roles in self._all if roles.looks_up]
        begins = tuple({text for roles in makers for text in roles.beginnings})
        ends = tuple({text for roles in makers for text in roles.endings})
        names = {name for roles in self._all for name in roles.names}
        kept.update(name for name in names if name.startswith(begins) or name.endswith(ends))
        kept.update(name for name in names if name.startswith("__") and name.endswith("__"))
        return kept

    def _uncertain_keywords(self) -> set[str]:
        """Keywords of calls that may reach something else than a function of ours."""
        stored = {name for roles in self._all for name in roles.stored}
        return {
            name
            for roles in self._all
            for called, name in roles.keywords
            if called in roles.local | roles.parameters | stored
            or not self._takes(called, name, frozenset())
        }

    def _takes(self, called: str, name: str, seen: frozenset[str]) -> bool:
        """Whether what is called so are functions of ours, and one of them takes ``name``."""
        found = [function for function in self._functions if function.name == called]
        if called in self._bases and called not in seen:
            made = [f for f in self._functions if f.name == "__init__" and f.owner == called]
            if not made:
                bases = self._bases[called]
                return any(self._takes(base, name, seen | {called}) for base in bases)
            found += made
        if any(function.takes_any for function in found):
            return False
        return any(name in (*f.parameters, *f.keyword_only) for f in found)

    # -- what is replaced --------------------------------------------------------------

    def _names_shared(self) -> set[str]:
        """Names to be replaced that more than one module may say, or any object may have."""
        shared = set(self._passed)
        defined = set(self._passed)
        for roles in self._all:
            shared |= roles.attributes | roles.methods | roles.imported
            defined |= roles.bound | roles.methods | roles.stored
        return (shared & defined) - self._kept

    def _own(self, module: _Module) -> list[str]:
        """Names to be replaced that only ``module`` says, in order."""
        said = (module.roles.bound | module.roles.inner) & set(module.table[1:])
        return sorted(said - self._kept - self._shared)

    def _is_nameless(self, module: _Module, name: str) -> bool:
        """Whether ``name`` is nothing in ``module`` but a parameter that goes by its place."""
        roles = module.roles
        # What it knows it may call too, and that would be the same place in the table.
        if name not in roles.parameters or name in self._passed or name in _KNOWN:
            return False
        if name in roles.strings or name in _public(module):
            return False
        others = roles.bound | roles.inner | roles.attributes | roles.methods | roles.imported
        return name not in others

    # -- by what -----------------------------------------------------------------------

    def _free_targets(self) -> list[str]:
        """Names of the interpreter that occur nowhere in the firmware, common ones first."""
        used = set(LOOKED_UP)
        for module in (*self._ours, *self._others):
            used.update(module.table, module.name.split("."))
        for module in self._others:
            used |= module.roles.names
        for roles in self._all:
            used |= roles.words
            used.update(piece for name in roles.modules for piece in name.split("."))
        return [
            name
            for name in (*STATIC, *IN_EVERY_ROM, *IN_ESP8266_ROM)
            if name.isidentifier()
            and not (name.startswith("__") or keyword.iskeyword(name) or name in used)
        ]

    def _choose_shared(self, targets: list[str]) -> dict[str, str]:
        """A target for each name that is shared, common ones for what most modules say."""
        modules: Counter[str] = Counter()
        for module in self._ours:
            said = set(module.table[1:]) & self._shared
            modules.update(name for name in said if not self._is_nameless(module, name))
        order = sorted(modules, key=lambda name: (-modules[name], name))
        common = [name for name in targets if name not in _ESP8266_ONLY]
        rest = [name for name in targets if name in _ESP8266_ONLY]
        first, last = order[: len(common)], order[len(common) : len(targets)]
        return _choose(sorted(first), common) | _choose(sorted(last), rest)


def _choose(names: Iterable[str], targets: list[str]) -> dict[str, str]:
    """For each name a target of its own, so that one more name moves few of the others."""
    free = list(targets)
    new = {}
    for name in names:
        new[name] = min(free, key=lambda target: zlib.crc32(f"{name} {target}".encode()))
        free.remove(new[name])
    return new


def _public(module: _Module) -> set[str]:
    """What `PUBLIC` says of ``module``, and the parameters of the functions among it."""
    listed = set(PUBLIC.get(module.name, "").split())
    for function in module.roles.functions:
        if function.name in listed or (function.name == "__init__" and function.owner in listed):
            listed.update((*function.parameters, *function.keyword_only))
    return listed
