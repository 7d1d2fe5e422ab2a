"""Puts the firmware and the fakes of a board's modules on the path before any test file."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType
from typing import Any, ClassVar

import device_support  # noqa: F401
import pytest


@pytest.fixture(autouse=True)
def quick_collector() -> Iterator[None]:
    """Device code collects garbage wherever a small heap needs it. CPython's collector would
    go over all of pytest each time, which was most of the time that these tests took."""
    gc.freeze()
    yield
    gc.unfreeze()


class CompiledOnce(SourceFileLoader):
    """Loads a module of the firmware, whose code is kept for when it was dropped."""

    _codes: ClassVar[dict[str, CodeType | None]] = {}

    def get_code(self, fullname: str) -> CodeType | None:
        if self.path not in self._codes:
            self._codes[self.path] = super().get_code(fullname)
        return self._codes[self.path]


class FirmwareFinder:
    """Goes before pytest's finder, which looks at each for assertions to rewrite: there are
    none, and device code imports some of its modules over and over."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, _: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name.partition(".")[0] != "keyfob":
            return None
        spec = PathFinder.find_spec(name, path)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = CompiledOnce(spec.loader.name, spec.loader.path)
        return spec


sys.meta_path.insert(0, FirmwareFinder())


# Each module of the firmware that a test has imported, with what it had in it then.
_loaded: dict[str, tuple[ModuleType, dict[str, Any]]] = {}


@pytest.fixture(autouse=True)
def modules_stay() -> Iterator[None]:
    """Device code drops modules, and empties some, where a board needs the room. Test files
    hold on to theirs, so after each test all of them are as they were before it."""
    _note_modules()  # those that test files imported as they were collected
    yield
    _note_modules()
    for name, (module, content) in _loaded.items():
        if "__name__" not in module.__dict__:
            module.__dict__.update(content)
        if sys.modules.get(name) is not module:
            sys.modules[name] = module
            parent, _, own = name.rpartition(".")
            if parent in _loaded:
                setattr(_loaded[parent][0], own, module)


def _note_modules() -> None:
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "keyfob" and name not in _loaded:
            _loaded[name] = module, dict(module.__dict__)
