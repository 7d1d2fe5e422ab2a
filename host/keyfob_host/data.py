"""Where firmware/, boards/, certs/ and tests/hil/ are: in the checkout or in the wheel."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_IN_CHECKOUT = {"hil": "tests/hil"}


def data_path(name: str) -> Path:
    """The folder ``name`` (``firmware``, ``boards``, ``certs`` or ``hil``).

    An installed wheel carries them below the package; an editable install reads
    the checkout itself, so that an edit is in force at once.
    """
    in_wheel = _PACKAGE / "data" / name
    if in_wheel.is_dir():
        return in_wheel
    return _PACKAGE.parent.parent / _IN_CHECKOUT.get(name, name)
