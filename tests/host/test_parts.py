"""keyfob_host.parts: what a board is not sent, found by following the imports."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from keyfob_host.data import data_path
from keyfob_host.parts import left_out

FIRMWARE = data_path("firmware")


ENTRIES = {"keyfob": "keyfob.tls.opening", "mbedtls": "keyfob.tls.mbedtls"}


def kept_of(engine: str) -> set[str]:
    every = {path.relative_to(FIRMWARE).as_posix() for path in FIRMWARE.rglob("*.py")}
    return every - left_out(FIRMWARE, engine)


def test_a_board_whose_own_tls_verifies_needs_no_engine() -> None:
    out = left_out(FIRMWARE, "mbedtls")
    assert {"keyfob/tls/engine.py", "keyfob/pki/path.py", "keyfob/crypto/x25519.py"} <= out
    for name in ("stream", "tls/context", "tls/handshake", "tls/chain", "tls/reasons", "client"):
        assert f"keyfob/{name}.py" in kept_of("mbedtls")


def test_a_board_with_our_engine_gets_all_of_it() -> None:
    out = left_out(FIRMWARE, "keyfob")
    assert not out & {path for path in left_out(FIRMWARE, "mbedtls") if "tls/mbedtls" not in path}
    assert "keyfob/tls/opening.py" in kept_of("keyfob")


@pytest.mark.parametrize(("engine", "other"), [("keyfob", "mbedtls"), ("mbedtls", "keyfob")])
def test_whatever_is_sent_finds_what_it_imports(engine: str, other: str) -> None:
    out = left_out(FIRMWARE, engine)
    assert all(name.startswith(("keyfob/tls/", "keyfob/pki/", "keyfob/crypto/")) for name in out)
    for name in kept_of(engine):
        for node in ast.walk(ast.parse((FIRMWARE / name).read_bytes())):
            if isinstance(node, ast.ImportFrom) and node.module != ENTRIES[other]:
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


def test_what_only_the_other_entry_leads_to_is_left_out(tmp_path: Path) -> None:
    files = {
        "main.py": "engine = __import__('keyfob.tls.' + input())\n",
        "keyfob/tls/__init__.py": "",
        "keyfob/tls/opening.py": "from keyfob.tls import both, ours\nfrom keyfob import tcp\n",
        "keyfob/tls/mbedtls.py": "from keyfob.tls import both, theirs\nfrom keyfob import tcp\n",
        "keyfob/tls/ours.py": "__import__('keyfob.crypto.' + input())\n",
        "keyfob/tls/theirs.py": "from keyfob.pki.certificate import x\n",
        "keyfob/tls/both.py": "",
        "keyfob/crypto/by_name.py": "",
        "keyfob/pki/certificate.py": "x = 1\n",
        "keyfob/tcp.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    only_theirs = {"keyfob/tls/mbedtls.py", "keyfob/tls/theirs.py", "keyfob/pki/certificate.py"}
    only_ours = {"keyfob/tls/opening.py", "keyfob/tls/ours.py", "keyfob/crypto/by_name.py"}
    assert left_out(tmp_path, "keyfob") == only_theirs
    assert left_out(tmp_path, "mbedtls") == only_ours
    # What something else needs as well is sent.
    (tmp_path / "main.py").write_text("from keyfob.tls import theirs\n")
    assert left_out(tmp_path, "keyfob") == {"keyfob/tls/mbedtls.py"}
    (tmp_path / "keyfob/tls/mbedtls.py").unlink()
    assert left_out(tmp_path, "keyfob") == set()


@pytest.mark.parametrize("engine", ["mbedtls", "keyfob"])
def test_a_folder_without_our_engine_is_sent_whole(tmp_path: Path, engine: str) -> None:
    (tmp_path / "main.py").write_text("print(1)\n")
    assert left_out(tmp_path, engine) == set()
