"""The bench's state on disk: CA, identities, broker, virtual boards. One folder, `KEYFOB_HOME`.

``$KEYFOB_HOME`` if set; else the nearest ``.keyfob`` in this folder or one above;
else ``.keyfob`` in this folder, made on first use with a ``.gitignore`` that keeps
all of it out of git.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from keyfob_host.errors import ExitStatus, KeyfobHostError, explain_os_error
from keyfob_host.files import write_atomic


@dataclass(frozen=True)
class Home:
    """Paths of one bench. Nothing is created until `ensure` is called."""

    root: Path

    @property
    def ca_dir(self) -> Path:
        return self.root / "ca"

    @property
    def certs_dir(self) -> Path:
        """``certs/<broker|device>/<name>/``: ``chain.pem``, ``key.pem``, ``cert.pem``."""
        return self.root / "certs"

    @property
    def broker_dir(self) -> Path:
        return self.root / "broker"

    @property
    def ntp_dir(self) -> Path:
        return self.root / "ntp"

    @property
    def boards_dir(self) -> Path:
        """``boards/<name>/``: one folder a virtual board (flash image, log, ports)."""
        return self.root / "boards"

    @property
    def runtime_dir(self) -> Path:
        """Sockets. Short and private, because a socket's path may have 107 bytes only."""
        base = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
        tag = hashlib.sha256(str(self.root).encode()).hexdigest()[:12]
        return base / f"keyfob-{os.getuid()}" / tag

    def ensure(self) -> Home:
        """Make the folder (0700) and its ``.gitignore``."""
        with explain_os_error(self.root, "make the bench's folder"):
            if not self.root.is_dir():
                self.root.mkdir(parents=True, mode=0o700)
        ignore = self.root / ".gitignore"
        if not ignore.exists():
            write_atomic(ignore, "*\n")
        return self

    def ensure_runtime(self) -> Path:
        """Make `runtime_dir` (0700) and return it. Its parent is in a place where everybody may
        write; one that somebody else made is the error ``home.not-ours``."""
        ours = self.runtime_dir.parent
        with explain_os_error(self.runtime_dir, "make the folder for control sockets"):
            ours.mkdir(mode=0o700, exist_ok=True)
            found = ours.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
                raise KeyfobHostError(
                    "home.not-ours",
                    "the folder for control sockets was made by somebody else, who could take "
                    "the place of a virtual board",
                    evidence=f"{ours}: owner {found.st_uid}, {stat.filemode(found.st_mode)}; "
                    f"want a folder of user {os.getuid()}",
                    fix=f"ls -ld {ours}; XDG_RUNTIME_DIR=$HOME keyfob …",
                    status=ExitStatus.HOST,
                )
            ours.chmod(0o700)
            self.runtime_dir.mkdir(mode=0o700, exist_ok=True)
        return self.runtime_dir


def find_home() -> Home:
    """The bench this command works on; see the module's docstring."""
    named = os.environ.get("KEYFOB_HOME")
    if named:
        return Home(Path(named).expanduser().resolve())
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / ".keyfob").is_dir():
            return Home(folder / ".keyfob")
    return Home(here / ".keyfob")
