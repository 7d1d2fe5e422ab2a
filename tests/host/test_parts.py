"""keyfob_host.parts: what a board is not sent, found by following the imports."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from keyfob_host.data import data_path
from keyfob_host.parts import left_out

FIRMWARE = data_path("firmware")


def test_keyfobs_own_engine_needs_everything() -> None:
    assert left_out(FIRMWARE, "keyfob") == set()


def test_a_board_whose_own_tls_verifies_needs_no_engine() -> None:
    out = left_out(FIRMWARE, "mbedtls")
    assert {"keyfob/tls/engine.py", "keyfob/pki/path.py", "keyfob/crypto/p256.py"} <= out
    kept = {path.relative_to(FIRMWARE).as_posix() for path in FIRMWARE.rglob("*.py")} - out
    for name in ("stream", "tls/context", "tls/handshake", "tls/chain", "tls/reasons", "client"):
        assert f"keyfob/{name}.py" in kept
    assert all(name.startswith(("keyfob/tls/", "keyfob/pki/", "keyfob/crypto/")) for name in out)
    # Whatever is sent finds what it imports, the way into the engine aside.
    for name in kept:
        for node in ast.walk(ast.parse((FIRMWARE / name).read_bytes())):
            if isinstance(node, ast.ImportFrom) and node.module != "keyfob.tls.opening":
                assert f"{(node.module or '').replace('.', '/')}.py" not in out, name


def test_imports_are_found_wherever_they_stand(tmp_path: Path) -> None:
    files = {
        "main.py": "def f():\n    from keyfob import a\n",
        "keyfob/a.py": "import keyfob.tls.used\nif 0:\n    from keyfob.tls import opening\n",
        "keyfob/tls/__init__.py": "",
        "keyfob/tls/used.py": "from keyfob.pki.deep import x\n",
        "keyfob/pki/deep.py": "x = 1\n",
        "keyfob/tls/opening.py": "from keyfob.crypto import only\n",
        "keyfob/crypto/only.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert left_out(tmp_path, "mbedtls") == {"keyfob/tls/opening.py", "keyfob/crypto/only.py"}


@pytest.mark.parametrize("engine", ["mbedtls", "keyfob"])
def test_a_folder_without_our_engine_is_sent_whole(tmp_path: Path, engine: str) -> None:
    (tmp_path / "main.py").write_text("print(1)\n")
    assert left_out(tmp_path, engine) == set()
