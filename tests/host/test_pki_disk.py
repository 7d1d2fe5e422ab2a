"""Authority and identities on disk: permissions, damage, interruption, a full disk."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from judges import code_of

from keyfob_host.errors import KeyfobHostError
from keyfob_host.pki import folder as folder_module
from keyfob_host.pki.authority import CERT_FILE, KEY_FILE, Authority
from keyfob_host.pki.identity import Identity


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.ephemeral("Disk CA")


@pytest.fixture
def written(authority: Authority, tmp_path: Path) -> Path:
    return authority.issue_device("sensor-01").write(tmp_path / "device" / "sensor-01")


def names_in(path: Path) -> list[str]:
    return sorted(one.name for one in path.iterdir())


def names_below(path: Path) -> set[str]:
    return {one.name for one in path.rglob("*")}


def test_an_identity_is_read_back_as_it_was_written(authority: Authority, tmp_path: Path) -> None:
    for key_type in ("p256", "rsa2048"):
        made = authority.issue_broker("b.test", key_type=key_type)
        got = Identity.read(made.write(tmp_path / key_type))
        assert (got.cert, got.anchors, got.key_pem()) == (
            made.cert, (authority.cert,), made.key_pem(),
        )  # fmt: skip
        assert got.chain_der() == [made.cert_der()]
        assert got.anchors_der() == [authority.cert_der()]


def test_keys_are_for_their_owner_alone_whatever_the_umask(
    authority: Authority, tmp_path: Path
) -> None:
    before = os.umask(0)
    try:
        Authority.create(tmp_path / "ca")
        authority.issue_device("a").write(tmp_path / "a")
    finally:
        os.umask(before)
    for key in (tmp_path / "ca" / KEY_FILE, tmp_path / "a" / "key.pem"):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        assert stat.S_IMODE(key.parent.stat().st_mode) == 0o700


def test_a_key_that_others_may_read_is_refused(written: Path) -> None:
    for mode in (0o640, 0o604, 0o660):
        (written / "key.pem").chmod(mode)
        with pytest.raises(KeyfobHostError) as refused:
            Identity.read(written)
        assert refused.value.code == "cert.key-exposed"
        assert refused.value.fix == f"chmod 600 {written / 'key.pem'}"
    (written / "key.pem").chmod(0o400)
    Identity.read(written)


def test_what_this_user_may_not_read_or_enter_is_told(written: Path) -> None:
    # In a process of its own: a super-user would be let in, so it first becomes nobody.
    program = (
        "import os, sys; from pathlib import Path\n"
        "from keyfob_host.errors import KeyfobHostError\n"
        "from keyfob_host.pki.authority import Authority\n"
        "from keyfob_host.pki.identity import Identity\n"
        "from keyfob_host.pki.keys import load_key\n"
        "os.chdir(sys.argv[1]); key = Path('key.pem')\n"
        "if os.getuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "else: os.chmod(key, 0); os.chmod('..', 0)\n"
        "for action in (\n"
        "    lambda: load_key(key, 'the key'), lambda: Identity.read(Path('../sensor-01')),\n"
        "    lambda: Authority.create(Path('../ca')), lambda: Authority.load(Path('../ca')),\n"
        "):\n"
        "    try: action()\n"
        "    except KeyfobHostError as error: print(error.code)\n"
    )
    try:
        done = subprocess.run(
            [sys.executable, "-c", program, str(written)], capture_output=True, text=True
        )
    finally:
        written.parent.chmod(0o700)
    assert done.stdout.split() == ["file.no-permission"] * 4, done.stderr


def test_an_existing_identity_is_replaced_only_by_force(
    authority: Authority, written: Path
) -> None:
    old = Identity.read(written)
    new = authority.issue_device("sensor-01")
    assert code_of(lambda: new.write(written)) == "cert.exists"
    assert Identity.read(written).cert == old.cert
    new.write(written, force=True)
    assert Identity.read(written).cert == new.cert
    assert names_in(written.parent) == ["sensor-01"]


def test_an_authority_is_replaced_only_by_force(tmp_path: Path) -> None:
    first = Authority.create(tmp_path / "ca")
    assert code_of(lambda: Authority.create(tmp_path / "ca")) == "ca.exists"
    assert Authority.load(tmp_path / "ca").cert == first.cert
    second = Authority.create(tmp_path / "ca", force=True)
    assert Authority.load(tmp_path / "ca").cert == second.cert != first.cert


def test_a_passphrase_encrypts_the_key_and_only_it_opens(tmp_path: Path) -> None:
    made = Authority.create(tmp_path, passphrase=None, force=True)
    assert Authority.load(tmp_path).cert == made.cert
    assert Authority.load(tmp_path, b"not needed").cert == made.cert
    made = Authority.create(tmp_path, passphrase="Schlüssel".encode(), force=True)
    assert b"BEGIN ENCRYPTED PRIVATE KEY" in (tmp_path / KEY_FILE).read_bytes()
    assert Authority.load(tmp_path, "Schlüssel".encode()).cert == made.cert
    assert code_of(lambda: Authority.load(tmp_path)) == "cert.passphrase-needed"
    with pytest.raises(KeyfobHostError) as refused:
        Authority.load(tmp_path, b"geheim")
    assert refused.value.code == "cert.passphrase-wrong"
    assert "geheim" not in str(refused.value.as_dict())


def test_missing_files_are_told_apart(tmp_path: Path, written: Path) -> None:
    assert code_of(lambda: Authority.load(tmp_path / "none")) == "ca.missing"
    assert code_of(lambda: Identity.read(tmp_path / "none")) == "cert.missing"
    (written / "key.pem").unlink()
    assert code_of(lambda: Identity.read(written)) == "file.missing"
    Authority.create(tmp_path / "ca")
    (tmp_path / "ca" / KEY_FILE).unlink()
    assert code_of(lambda: Authority.load(tmp_path / "ca")) == "file.missing"
    assert code_of(lambda: Authority.create(tmp_path / "ca")) == "ca.exists"


@pytest.mark.parametrize("keep", [0, 1, 30, 300, -30])
def test_truncated_files_are_told(written: Path, keep: int) -> None:
    for name, code in (("cert.pem", "cert.unreadable"), ("key.pem", "cert.key-unreadable")):
        whole = (written / name).read_bytes()
        (written / name).write_bytes(whole[:keep] if keep < len(whole) else whole[:-40])
        with pytest.raises(KeyfobHostError) as refused:
            Identity.read(written)
        assert refused.value.code == code
        assert "PRIVATE KEY" not in refused.value.evidence
        (written / name).write_bytes(whole)


def test_a_folder_a_device_node_and_a_huge_file_are_no_key(written: Path) -> None:
    key = written / "key.pem"
    key.unlink()
    key.mkdir()
    assert code_of(lambda: Identity.read(written)) == "file.not-a-file"
    key.rmdir()
    key.symlink_to("/dev/zero")
    assert code_of(lambda: Identity.read(written)) == "file.too-large"


def test_key_and_certificate_of_two_identities_are_refused(
    authority: Authority, written: Path, tmp_path: Path
) -> None:
    other = authority.issue_device("sensor-02").write(tmp_path / "other")
    shutil.copy(other / "key.pem", written / "key.pem")
    assert code_of(lambda: Identity.read(written)) == "cert.key-mismatch"
    Authority.create(tmp_path / "ca")
    shutil.copy(other / "key.pem", tmp_path / "ca" / KEY_FILE)
    assert code_of(lambda: Authority.load(tmp_path / "ca")) == "ca.key-mismatch"


def test_a_full_disk_leaves_nothing_behind(
    authority: Authority, written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = Identity.read(written)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    new = authority.issue_device("sensor-01")
    assert code_of(lambda: new.write(written, force=True)) == "host.disk-full"
    assert code_of(lambda: new.write(written.parent / "fresh")) == "host.disk-full"
    assert names_in(written.parent) == ["sensor-01"]
    assert Identity.read(written).cert == old.cert


def test_a_truly_full_disk_leaves_nothing_behind(authority: Authority, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(disk)]
    if os.getuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("only root, outside most containers, can mount a tiny file system")
    try:
        (disk / "ballast").write_bytes(bytes(8192))
        made = authority.issue_device("sensor-01")
        assert code_of(lambda: made.write(disk / "sensor-01")) == "host.disk-full"
        assert names_in(disk) == ["ballast"]
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def _interrupted_at(line: int, action: Callable[[], object]) -> bool:
    """Run ``action`` with Ctrl-C at the n-th line that `pki.folder` executes."""
    left = line

    def trace(frame: object, event: str, _: object) -> object:
        nonlocal left
        if frame.f_code.co_filename != folder_module.__file__:  # type: ignore[attr-defined]
            return None
        if event == "line":
            left -= 1
            if left == 0:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)  # type: ignore[arg-type]
    try:
        action()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


def forget_remains(folder: Path) -> None:
    """Ctrl-C in the clean-up itself leaves some, to be removed once this process is gone."""
    for remains in folder.glob(".ca.*"):
        shutil.rmtree(remains)


@pytest.mark.parametrize("at_once", [True, False], ids=["exchange", "two renames"])
def test_interrupted_anywhere_it_is_the_old_authority_or_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: bool
) -> None:
    if not at_once:  # a system that cannot swap two folders in one step
        monkeypatch.setattr(folder_module, "_exchange_at_once", lambda *_: False)
    ca = tmp_path / "ca"
    old = Authority.create(ca)
    lines = 1
    while _interrupted_at(lines, lambda: Authority.create(ca, force=True)):
        Authority.load(ca)  # raises ca.key-mismatch for a mixture
        assert {one.name for one in ca.iterdir()} == {CERT_FILE, KEY_FILE}
        forget_remains(tmp_path)
        lines += 1
    assert lines > 30
    assert Authority.load(ca).cert != old.cert


def test_interrupted_anywhere_a_first_authority_is_whole_or_absent(tmp_path: Path) -> None:
    ca = tmp_path / "ca"
    lines = 1
    while _interrupted_at(lines, lambda: Authority.create(ca)):
        if ca.exists():
            Authority.load(ca)
            shutil.rmtree(ca)
        forget_remains(tmp_path)
        lines += 1
    assert lines > 30


def test_what_a_killed_writer_left_goes_with_the_next_write(
    authority: Authority, written: Path
) -> None:
    program = (
        "import os, sys; from pathlib import Path\n"
        "from keyfob_host.pki.folder import write_folder\n"
        "os.fsync = lambda _: os.kill(os.getpid(), 9)\n"
        "write_folder(Path(sys.argv[1]), {'key.pem': (b'key', 0o600)}, replace=True)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(written)])
    assert done.returncode == -9
    assert len(names_in(written.parent)) == 2
    neighbour = written.parent / f".sensor-02.{os.getpid()}-x"  # a writer that lives
    neighbour.mkdir()
    authority.issue_device("sensor-01").write(written, force=True)
    assert names_in(written.parent) == [neighbour.name, "sensor-01"]


def test_two_at_once_make_one_authority(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from keyfob_host.errors import KeyfobHostError\n"
        "from keyfob_host.pki.authority import Authority\n"
        "try: Authority.create(Path(sys.argv[1])); print('made')\n"
        "except KeyfobHostError as error: print(error.code)\n"
    )
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path / "ca")], stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    said = sorted(racer.communicate()[0].strip() for racer in racers)
    assert said == ["ca.exists", "ca.exists", "made"]
    Authority.load(tmp_path / "ca")
    assert names_below(tmp_path) == {"ca", CERT_FILE, KEY_FILE}
