"""Give compiled modules names that a board has already, so that theirs cost it no heap.

MicroPython keeps every name of every module that it loads, for ever: 7 bytes each, in
pools that double, wherever the module lies. A name that stands in the interpreter's own
read-only memory costs nothing. So names that nothing but the firmware itself uses are
replaced by such names, all over the firmware at once. Only the table of names at the
head of each .mpy file changes (`keyfob_host.qstr_table`); tracebacks keep module and
line, and name another function.

Which names are replaced:

1. In the modules of ``keyfob`` only. All others (``boot.py``, ``main.py``, ``apps``) keep
   every name, and so does every name that occurs in them.
2. Of the modules in `PUBLIC`, which applications are told to use, only names that begin
   with an underscore; parameters of the others are theirs as well.
3. Never a name that may be said in another way than as a name: a word of any string in
   the firmware, or one that begins or ends as a string does to which something is joined.
4. Never a module, a special name (``__x__``), a name that any port of MicroPython knows,
   a name imported from a module that is not ours, or a keyword of a call of which it is
   not certain that a function of ours takes it by just this name.

What they are replaced by:

- An attribute, and whatever else one module can say of another's, by a name that occurs
  nowhere in the firmware and stands for this one name everywhere.
- What only its own module uses, by one that stands for one name in each module.
- A parameter that nobody passes by its name, by ``*``, as mpy-cross itself calls one that
  it has no name for.

Not checked: an application that is not in the folder and derives a class from one of
Keyfob's, which may meet a replaced attribute; keep it in the folder.
"""

from __future__ import annotations

import keyword
import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from keyfob_host.mpy import BoardFile
from keyfob_host.name_roles import Roles, read_roles
from keyfob_host.qstr_table import read_names, with_names
from keyfob_host.rom_names import ELSEWHERE, IN_ESP8266_ROM, IN_EVERY_ROM, LOOKED_UP, STATIC

# The modules that README and the docstring of `keyfob.client` name to applications.
PUBLIC = frozenset(
    (
        "keyfob",
        "keyfob.blocking",
        "keyfob.client",
        "keyfob.clock",
        "keyfob.config",
        "keyfob.errors",
        "keyfob.events",
        "keyfob.inbox",
        "keyfob.outbox",
        "keyfob.streamed",
    )
)
_PACKAGE = "keyfob"
_NAMELESS = "*"
_KNOWN = frozenset((*STATIC, *IN_EVERY_ROM, *IN_ESP8266_ROM, *ELSEWHERE))


@dataclass
class _Module:
    """A compiled module: its file on the board, its name, its table, and its roles."""

    file: BoardFile
    name: str
    table: list[str]
    roles: Roles


def merge_names(sources: Path, files: list[BoardFile]) -> list[BoardFile]:
    """``files`` in the same order, the compiled ones of ``keyfob`` with replaced names.

    ``sources`` is the folder that they were made from. The same sources give the same
    bytes. Sources that are not compiled keep all modules as they are.
    """
    renames = replacements(sources, files)
    return [
        replace(file, data=_renamed(file.data, renames[file.path]))
        if file.path in renames
        else file
        for file in files
    ]


def replacements(sources: Path, files: list[BoardFile]) -> dict[str, dict[str, str]]:
    """For each compiled file of ``keyfob`` by its path: its names, and what replaces them."""
    modules, others = _read(sources, files)
    if any(module.name.split(".")[0] == _PACKAGE for module in others if module.table == []):
        return {}
    firmware = _Firmware(modules, others)
    return {module.file.path: firmware.renames(module) for module in modules}


def _renamed(data: bytes, new: dict[str, str]) -> bytes:
    return with_names(data, [new.get(name, name) for name in read_names(data)])


def _read(sources: Path, files: list[BoardFile]) -> tuple[list[_Module], list[_Module]]:
    """The modules whose names may be replaced, and all others."""
    found: tuple[list[_Module], list[_Module]] = [], []
    packages = {file.path.split("/")[1] for file in files if file.path.count("/") > 1}
    for file in files:
        stem, dot, kind = file.path[1:].rpartition(".")
        if dot and kind in ("py", "mpy"):
            name = stem.replace("/", ".").removesuffix(".__init__")
            roles = read_roles((sources / f"{stem}.py").read_text("utf-8"), packages)
            table = read_names(file.data) if kind == "mpy" else []
            ours = kind == "mpy" and name.split(".")[0] == _PACKAGE
            found[0 if ours else 1].append(_Module(file, name, table, roles))
    return found


class _Firmware:
    """All modules together, and what their names become."""

    def __init__(self, modules: list[_Module], others: list[_Module]) -> None:
        self._modules = modules
        self._all = [module.roles for module in (*modules, *others)]
        self._functions = [function for roles in self._all for function in roles.functions]
        self._bases = {name: bases for roles in self._all for name, bases in roles.bases.items()}
        self._others = others
        self._passed = self._passed_by_name()
        self._kept = self._names_to_keep()
        self._shared = self._names_shared()
        self._targets = self._free_targets()
        # Each module's own names first: one target serves them in every module.
        need = max((len(self._own(module)) for module in modules), default=0)
        own, rest = self._targets[:need], self._targets[need:]
        self._own_targets = own
        self._shared_names = self._choose_shared(rest)

    def renames(self, module: _Module) -> dict[str, str]:
        """What replaces the names of ``module``; names that stay are left out."""
        new = _choose(self._own(module), self._own_targets)
        for name in module.table[1:]:
            if self._is_nameless(module, name):
                new[name] = _NAMELESS
            elif name in self._shared_names and name in module.roles.names:
                new[name] = self._shared_names[name]
        return new

    def _passed_by_name(self) -> set[str]:
        """Parameters that a caller says by their names, or may."""
        passed = {name for roles in self._all for _, name in roles.keywords}
        starred = {called for roles in self._all for called in roles.starred}
        for function in self._functions:
            passed.update(function.keyword_only)
            names = {function.name} | ({function.owner} if function.name == "__init__" else set())
            if names & starred or "" in starred:
                passed.update(function.parameters)
        return passed

    def _names_to_keep(self) -> set[str]:
        kept = set(_KNOWN)
        for roles in self._all:
            kept |= roles.words | roles.foreign
            kept.update(piece for name in roles.modules for piece in name.split("."))
        for module in (*self._modules, *self._others):
            kept.update(module.name.split("."))
        for module in self._others:
            kept |= module.roles.names
        for module in self._modules:
            if module.name in PUBLIC:
                kept.update(filter(_is_public, _defined(module.roles)))
                kept |= _public_parameters(module.roles)
        kept |= self._uncertain_keywords()
        begins = tuple({text for roles in self._all for text in roles.beginnings})
        ends = tuple({text for roles in self._all for text in roles.endings})
        for roles in self._all:
            for name in roles.names:
                if (name.startswith("__") and name.endswith("__")) or (
                    name.startswith(begins) or name.endswith(ends)
                ):
                    kept.add(name)
        return kept

    def _uncertain_keywords(self) -> set[str]:
        """Keywords of calls that may reach something else than a function of ours."""
        uncertain = set()
        for roles in self._all:
            for called, name in roles.keywords:
                variables = roles.local | roles.parameters | self._stored()
                if called in variables or not self._takes(called, name, set()):
                    uncertain.add(name)
        return uncertain

    def _stored(self) -> set[str]:
        return {name for roles in self._all for name in roles.stored}

    def _takes(self, called: str, name: str, seen: set[str]) -> bool:
        """Whether what has the name ``called`` are functions of ours that say what they take,
        and one of them takes ``name``."""
        found = [f for f in self._functions if f.name == called]
        if called in self._bases and called not in seen:
            made = [f for f in self._functions if f.name == "__init__" and f.owner == called]
            if not made:
                bases = self._bases[called]
                return all(self._takes(base, name, seen | {called}) for base in bases) and bool(
                    bases
                )
            found += made
        if any(function.takes_any for function in found):
            return False
        return any(name in (*f.parameters, *f.keyword_only) for f in found)

    def _names_shared(self) -> set[str]:
        """Names to be replaced that more than one module may say, or any object may have."""
        shared = set(self._passed)
        for roles in self._all:
            shared |= roles.attributes | roles.methods | roles.imported
        defined = {name for roles in self._all for name in _defined(roles)}
        return (shared & (defined | self._passed)) - self._kept

    def _is_nameless(self, module: _Module, name: str) -> bool:
        roles = module.roles
        if name not in roles.parameters or name in self._passed:
            return False
        if name in roles.words:
            return False
        if module.name in PUBLIC and name in _public_parameters(roles):
            return False
        others = roles.bound | roles.inner | roles.attributes | roles.methods | roles.imported
        return name not in others and name not in STATIC

    def _own(self, module: _Module) -> list[str]:
        """Names to be replaced that ``module`` keeps to itself, in order."""
        roles = module.roles
        mine = roles.bound | roles.inner
        if module.name in PUBLIC:
            mine = {name for name in mine if not _is_public(name)}
        table = set(module.table[1:])
        return sorted(mine & table - self._kept - self._shared)

    def _free_targets(self) -> list[str]:
        """Names of the interpreter that occur nowhere in the firmware."""
        used = set(LOOKED_UP)
        for module in self._modules:
            used.update(module.table)
        for roles in self._all:
            used |= roles.words | roles.modules
            used |= roles.names - roles.local
        for name in [module.name for module in (*self._modules, *self._others)]:
            used.update(name.split("."))
        return [
            name
            for name in (*STATIC, *IN_EVERY_ROM, *IN_ESP8266_ROM)
            if name.isidentifier()
            and not (name.startswith("__") or keyword.iskeyword(name) or name in used)
        ]

    def _choose_shared(self, targets: list[str]) -> dict[str, str]:
        used: Counter[str] = Counter()
        for module in self._modules:
            used.update(
                name
                for name in set(module.table[1:]) & self._shared & module.roles.names
                if not self._is_nameless(module, name)
            )
        common = [name for name in targets if name not in _ESP8266_ONLY]
        order = sorted(used, key=lambda name: (-used[name], name))
        new = _choose(sorted(order[: len(common)]), common)
        left = [name for name in targets if name not in new.values()]
        return new | _choose(sorted(order[len(common) : len(targets)]), left)


_ESP8266_ONLY = frozenset(IN_ESP8266_ROM)


def _choose(names: Iterable[str], targets: list[str]) -> dict[str, str]:
    """For each name a target of its own, in a way that one name more moves few others."""
    free = list(targets)
    new = {}
    for name in names:
        best = min(free, key=lambda target: zlib.crc32(f"{name} {target}".encode()))
        free.remove(best)
        new[name] = best
    return new


def _defined(roles: Roles) -> set[str]:
    return roles.bound | roles.methods | roles.stored


def _is_public(name: str) -> bool:
    return not name.startswith("_")


def _public_parameters(roles: Roles) -> set[str]:
    """Parameters of functions that an application may call."""
    return {
        name
        for function in roles.functions
        if _is_public(function.name) or function.name == "__init__"
        for name in (*function.parameters, *function.keyword_only)
    }
