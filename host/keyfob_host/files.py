"""Files that matter: written whole or not at all, keys readable by their owner only."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from keyfob_host.errors import KeyfobHostError, explain_os_error

# Nothing this tool reads by name (certificates, keys, settings, board files) is
# larger; a device node or a disk image given by mistake is refused, not slurped.
MAX_TEXT_BYTES = 1 << 20

KEY_MODE = 0o600
PUBLIC_MODE = 0o644


def write_atomic(path: Path, data: bytes | str, *, mode: int = PUBLIC_MODE) -> None:
    """Write ``data`` to a temporary name beside ``path``, sync it, rename it over ``path``.

    The file has ``mode`` from its first byte on, so a key is never readable by
    others even for a moment. Errors: `KeyfobHostError` (``host.disk-full``,
    ``file.no-permission``, …), and nothing is left behind.
    """
    content = data.encode() if isinstance(data, str) else data
    with explain_os_error(path, f"write {path.name}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                os.fchmod(file.fileno(), mode)
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def read_bounded(path: Path, doing: str, *, limit: int = MAX_TEXT_BYTES) -> bytes:
    """The bytes of ``path``; refused with ``file.too-large`` above ``limit`` bytes.

    ``doing`` completes "cannot …" in the error, for example ``"read the CA key"``.
    """
    with explain_os_error(path, doing), path.open("rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise KeyfobHostError(
            "file.too-large",
            f"cannot {doing}: the file is larger than any such file can be",
            evidence=f"{path}: more than {limit} bytes",
            fix=f"check that this is the file you mean: ls -l {path}",
        )
    return content
