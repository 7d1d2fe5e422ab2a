"""One certificate exported in several formats into one folder, written where it differs.

What `pki.export` makes of the same input is the same each time, and compared byte for
byte; only what a passphrase encrypts is not, and is written together with a new
certificate, or where it is missing. Files that a former export left are not removed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from keyfob_host.errors import KeyfobHostError
from keyfob_host.files import read_bounded, write_atomic
from keyfob_host.pki.export import Bundle, Files, Format, export

ExportedKey = Literal["none", "encrypted", "clear"]


@dataclass
class Exported:
    """Files that were written, that were so already, and that lack a passphrase."""

    written: list[Path] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)
    left_out: list[Path] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "written": list(map(str, self.written)),
            "kept": list(map(str, self.kept)),
            "left_out": list(map(str, self.left_out)),
        }


def write_exports(
    bundle: Bundle,
    formats: Sequence[Format],
    key: ExportedKey,
    folder: Path,
    *,
    is_new: bool,
    passphrase: Callable[[], bytes | None],
) -> Exported:
    """``bundle`` in every one of ``formats``, in ``folder``.

    ``key``: ``clear`` is in every format, ``encrypted`` in pem and p12 only; without one in
    the bundle there is none. ``is_new``: the certificate was issued just now. ``passphrase``
    is called for what must be encrypted; None leaves that out, and takes away what belongs
    to the certificate before. Errors: ``export.*``, ``file.*``.
    """
    done = Exported()
    in_clear = key == "clear" and bundle.key is not None
    plain: Files = {}
    for form in formats:
        if form != "p12":
            plain |= export(bundle, form, with_key=in_clear)
    for name, (content, mode) in plain.items():
        path = folder / name
        if _holds(path, content, mode):
            done.kept.append(path)
        else:
            write_atomic(path, content, mode=mode)
            done.written.append(path)
    is_stale = is_new or bool(done.written)
    for form, name in _encrypted(bundle, formats, key):
        path = folder / name
        if path.exists() and not is_stale:
            done.kept.append(path)
            continue
        secret = passphrase()
        if secret is None:
            path.unlink(missing_ok=True)
            done.left_out.append(path)
            continue
        with_key = key != "none" and bundle.key is not None
        content, mode = export(bundle, form, with_key=with_key, passphrase=secret)[name]
        write_atomic(path, content, mode=mode)
        done.written.append(path)
    return done


def _encrypted(
    bundle: Bundle, formats: Sequence[Format], key: ExportedKey
) -> list[tuple[Format, str]]:
    """What a passphrase encrypts: format, and the file's name."""
    found: list[tuple[Format, str]] = []
    if "pem" in formats and key == "encrypted" and bundle.key is not None:
        found.append(("pem", "key.pem"))
    if "p12" in formats:
        found.append(("p12", f"{bundle.stem}.p12"))
    return found


def _holds(path: Path, content: bytes, mode: int) -> bool:
    """Whether ``path`` is as it would be written."""
    try:
        return (
            path.stat().st_mode & 0o777 == mode
            and read_bounded(path, "compare the export") == content
        )
    except (FileNotFoundError, NotADirectoryError):
        return False
    except KeyfobHostError as error:
        if error.code in ("file.missing", "file.too-large"):
            return False
        raise
