"""Packages in a ROMFS image: what it holds, and a board that is brought to it.

Over a bare MicroPython, whose `vfs` is given the partition of a board: a block device as
the ESP32 port has it, on memory that behaves as flash does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from unix_board import UnixBoard

from keyfob_host import romfs
from keyfob_host.data import data_path
from keyfob_host.errors import KeyfobHostError
from keyfob_host.mpy import BoardFile, board_files
from keyfob_host.romfs import Image, Partition
from keyfob_host.sync import MANIFEST, SyncReport, sync_files
from keyfob_host.transport import Transport, connect

SIZE = 5 * 4096
# Flash: programming clears bits, erasing sets the 4 KB of a block.
PARTITION = """
import sys
class _P(bytearray):
 def ioctl(self,op,arg):
  if op==4:return len(self)//4096
  if op==5:return 4096
  if op==6:
   for i in range(arg*4096,arg*4096+4096):self[i]=255
   return 0
 def writeblocks(self,n,buf,off):
  for i,b in enumerate(buf):self[n*4096+off+i]&=b
_part=_P(b'\\xff'*%d)
class _Vfs:
 mount=vfs.mount
 umount=vfs.umount
 VfsRom=vfs.VfsRom
 rom_ioctl=staticmethod(lambda op,*_:_part if op==2 else 1 if op==1 else -22)
sys.modules['vfs']=_Vfs
"""

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "firmware"
    texts = {
        "boot.py": "# boot\n",
        "main.py": "import pack.one\n",
        "errors.txt": "clock.never-set\n",
        "pack/__init__.py": "",
        "pack/one.py": "from pack.deep import two\nVALUE = 1\ndef f():\n    return 1 // 0\n",
        "pack/page.html": "<p>",
        "pack/deep/two.py": "VALUE = 2\n",
        "www/index.html": "<p>" * 1000,
    }
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def bare(unix_board: UnixBoard) -> Iterator[Transport]:
    with connect(unix_board.port, soft_reset=False) as transport:
        yield transport


@pytest.fixture
def board(bare: Transport) -> Transport:
    bare.exec("import vfs\n" + PARTITION % SIZE)
    return bare


def sync(board: Transport, source: Path, to: Any = "romfs", **options: Any) -> SyncReport:
    return sync_files(board, board_files(source), to=to, **options)


def held(board: Transport) -> bytes:
    value = board.eval("bytes(_part[:2048])")
    assert isinstance(value, bytes)
    return value


def loaded(board: Transport) -> str:
    """Which of the modules a fresh interpreter would load, by their tracebacks and paths."""
    forget = "import sys\nfor n in list(sys.modules):\n if n[:4]=='pack':del sys.modules[n]\n"
    seen = board.exec(forget + "import pack.one as o\nprint(o.__file__,o.VALUE,o.two.VALUE)\n")
    return seen.decode().strip()


# -- the image


def test_packages_go_into_the_image_and_the_rest_stays_where_it_is_looked_for(source: Path) -> None:
    plain, packed = romfs.split(board_files(source))
    assert [file.path for file in plain] == [
        "/www/index.html", "/errors.txt", "/boot.py", "/main.py",
    ]  # fmt: skip
    assert [file.path for file in packed] == [
        "/pack/__init__.mpy", "/pack/deep/two.mpy", "/pack/one.mpy", "/pack/page.html",
    ]  # fmt: skip


def test_micropython_finds_every_file_of_the_image_whole(bare: Transport) -> None:
    names = ["a/b/c/d.txt", "a/b.txt", "a/z/y.txt", "b/b/c/d.txt", "b/x.txt"]
    wanted = [BoardFile(f"/{name}", name.encode() * n) for n, name in enumerate(names)]
    image = romfs.build(wanted)
    assert image == romfs.build(wanted[::-1])
    assert (image.files, image.folders) == (5, ("a", "b"))
    bare.exec(f"import vfs\nvfs.mount(vfs.VfsRom({image.data!r}),'/rom')")
    for n, name in enumerate(names):
        assert bare.read(f"/rom/{name}") == name.encode() * n
    assert bare.eval("__import__('os').listdir('/rom')") == [romfs.MARK, "a", "b"]


def test_bytecode_is_for_any_processor(source: Path) -> None:
    compiled = [file.data for file in board_files(source) if file.path.endswith(".mpy")]
    # Version, then architecture and sub-version, then bits of a small integer.
    assert {data[:2] for data in compiled} == {b"M\x06"}
    assert {data[2] for data in compiled} == {0}
    assert all(data[3] <= 31 for data in compiled)


# -- boards that cannot have it


IMAGE = Image(b"\xd2\xcd\x31" + bytes(997), 3, ("pack",))
OURS = b"\xd2\xcd\x31\x10" + b"\x05\x23\x0bkeyfob.sync"


@pytest.mark.parametrize(
    ("part", "code", "evidence", "fix"),
    [
        (Partition(-1, b"", None), "sync.no-romfs", "vfs.rom_ioctl", "FLASH_2M_ROMFS"),
        (Partition(0, b"", None), "sync.no-romfs", "partition", "--to files"),
        (Partition(999, b"", None), "sync.romfs-too-small", "1000 bytes, part", "--to files"),
        (Partition(1000, IMAGE.data[:48], None), "sync.romfs-foreign", "keyfob.sync", "--prune"),
    ],
)  # fmt: skip
def test_a_board_that_cannot_take_the_image_is_named_with_a_fix(
    part: Partition, code: str, evidence: str, fix: str
) -> None:
    with pytest.raises(KeyfobHostError) as caught:
        romfs.check_room(part, IMAGE, "esp8266", prune=False)
    assert caught.value.code == code
    assert evidence in caught.value.evidence
    assert fix in caught.value.fix


@pytest.mark.parametrize("head", [b"\xff" * 48, bytes(48), OURS])
def test_an_empty_partition_and_our_own_image_are_written_over(head: bytes) -> None:
    romfs.check_room(Partition(1000, head, None), IMAGE, "esp8266", prune=False)


def test_a_board_that_cannot_take_the_image_is_left_as_it_is(
    bare: Transport, unix_board: UnixBoard, source: Path
) -> None:
    for code in ("sync.no-romfs", "sync.romfs-too-small"):
        with pytest.raises(KeyfobHostError) as caught:
            sync(bare, source)
        assert caught.value.code == code
        assert unix_board.files() == {}
        bare.exec("import vfs\n" + PARTITION % 64)
    assert sync(bare, source, "files").image is None


# -- both ways, and from one to the other


def test_the_image_is_sent_once_and_mounted(
    board: Transport, unix_board: UnixBoard, source: Path
) -> None:
    report = sync(board, source)
    assert report.summary().startswith("ROMFS image of 4 files (0.")
    assert " sent; 4 files: 4 sent (" in report.summary()
    assert sorted(unix_board.files()) == [
        "/boot.py", "/errors.txt", MANIFEST, "/main.py", "/www/index.html",
    ]  # fmt: skip
    assert loaded(board) == "/rom/pack/one.mpy 1 2"
    before, image = unix_board.image.read_bytes(), held(board)
    report = sync(board, source)
    assert (report.sent, report.image_sent) == ({}, False)
    assert report.summary().endswith(" KB) already there; 4 files: 0 sent, 4 already there")
    assert (unix_board.image.read_bytes(), held(board)) == (before, image)


def test_a_changed_module_makes_another_image_and_sends_no_file(
    board: Transport, source: Path
) -> None:
    sync(board, source)
    (source / "pack" / "one.py").write_text("from pack.deep import two\nVALUE = 11\n")
    report = sync(board, source)
    assert (report.sent, report.image_sent) == ({}, True)
    assert loaded(board) == "/rom/pack/one.mpy 11 2"


def test_either_way_replaces_the_other(
    board: Transport, unix_board: UnixBoard, source: Path
) -> None:
    for _ in range(2):
        report = sync(board, source, "files")
        assert loaded(board) == "pack/one.mpy 1 2"
        assert not held(board).startswith(b"\xd2\xcd\x31")
        report = sync(board, source)
        assert report.image_sent
        assert list(report.sent)[-1:] == ["/main.py"]
        assert loaded(board) == "/rom/pack/one.mpy 1 2"
        # A folder would hide the image's, even an empty one.
        assert "pack" not in str(board.eval("__import__('os').listdir('/')"))
    report = sync(board, source, "files")
    assert report.image_dropped
    assert report.summary().endswith("; ROMFS image taken away")
    assert sync(board, source, "files").image_dropped is False


def test_tracebacks_name_the_module(board: Transport, source: Path) -> None:
    sync(board, source)
    with pytest.raises(KeyfobHostError) as caught:
        board.exec("import pack.one as o\no.f()")
    assert 'File "pack.one", line 4, in f' in caught.value.evidence


def test_an_image_that_sync_did_not_make_is_kept_or_pruned(board: Transport, source: Path) -> None:
    foreign = b"\xd2\xcd\x31\x80\x00"
    board.exec(f"_part[:5]={foreign!r}")
    with pytest.raises(KeyfobHostError) as caught:
        sync(board, source)
    assert caught.value.code == "sync.romfs-foreign"
    assert sync(board, source, "files").image_dropped is False
    assert held(board).startswith(foreign)
    assert sync(board, source, prune=True).image_sent


def test_bytes_that_arrive_wrong_make_no_image(
    board: Transport, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync(board, source)
    (source / "pack" / "one.py").write_text("VALUE = 11\n")
    # A cell of the flash that is 0 whatever is written.
    board.exec(
        "_w=_P.writeblocks\ndef w(s,*a):\n _w(s,*a)\n s[100]=0\n_P.writeblocks=w\n"
        "_e=_P.ioctl\ndef e(s,*a):\n r=_e(s,*a)\n s[100]=0\n return r\n_P.ioctl=e"
    )
    with pytest.raises(KeyfobHostError) as caught:
        sync(board, source)
    assert caught.value.code == "sync.romfs-corrupt"
    assert held(board)[:4] == b"\xff" * 4


# -- what would be loaded instead


@pytest.mark.parametrize("path", ["/pack/extra.mpy", "/pack/deep/notes.txt", "/pack.py"])
def test_what_would_hide_the_image_is_refused_or_pruned(
    board: Transport, unix_board: UnixBoard, source: Path, path: str
) -> None:
    sync(board, source)
    board.exec("import os\nos.mkdir('/pack')\nos.mkdir('/pack/deep')")
    board.write(path, b"# by hand\n")
    with pytest.raises(KeyfobHostError) as caught:
        sync(board, source)
    assert (caught.value.code, caught.value.evidence) == ("sync.shadowed", path)
    assert path in unix_board.files()
    report = sync(board, source, prune=True)
    assert report.removed == (path,)
    assert loaded(board) == "/rom/pack/one.mpy 1 2"


def test_an_empty_folder_of_the_packages_name_goes(board: Transport, source: Path) -> None:
    sync(board, source)
    board.exec("import os\nos.mkdir('/pack')\nos.mkdir('/pack/deep')")
    assert sync(board, source).removed == ()
    assert loaded(board) == "/rom/pack/one.mpy 1 2"


def test_a_file_of_ours_that_was_changed_on_the_board_is_not_lost(
    board: Transport, unix_board: UnixBoard, source: Path
) -> None:
    sync(board, source, "files")
    board.write("/pack/page.html", b"<p>by hand")
    with pytest.raises(KeyfobHostError) as caught:
        sync(board, source)
    assert (caught.value.code, caught.value.evidence) == ("sync.shadowed", "/pack/page.html")
    assert "/pack/one.mpy" in unix_board.files()


# -- interruptions


class Stopped(BaseException):
    """As Ctrl-C does, in the middle of anything."""


def stop_at(board: Any, number: int) -> Callable[[], None]:
    """Raise `Stopped` instead of the n-th exchange with the board; returns its undoing."""
    real, count = board.exec, 0

    def stopping(*arguments: Any, **options: Any) -> bytes:
        nonlocal count
        count += 1
        if count == number:
            raise Stopped
        answer: bytes = real(*arguments, **options)
        return answer

    board.exec = board._uploader._run = stopping

    def undo() -> None:
        board.exec = board._uploader._run = real

    return undo


@pytest.mark.parametrize(
    ("to", "step"),
    [
        ("romfs", 4),
        ("files", 4),
        pytest.param("romfs", 1, marks=pytest.mark.slow),
        pytest.param("files", 1, marks=pytest.mark.slow),
    ],
)
def test_stopped_at_any_exchange_nothing_half_is_loaded_and_the_next_run_completes_it(
    board: Transport, unix_board: UnixBoard, source: Path, to: Any, step: int
) -> None:
    """``main.py`` is not there, or all that it imports is: of one version, one way."""
    versions = {}
    for value in (1, 2):
        (source / "pack" / "one.py").write_text(f"from pack.deep import two\nVALUE = {value}\n")
        versions[value] = board_files(source)
    images = tuple(romfs.build(romfs.split(files)[1]).data for files in versions.values())
    way_back: Any = "files" if to == "romfs" else "romfs"
    stops = 0
    for number in range(2, 200, step):
        sync_files(board, versions[2], to=way_back)
        undo = stop_at(board, number)
        try:
            sync_files(board, versions[1], to=to)
            break
        except Stopped:
            stops += 1
        finally:
            undo()
        assert held(board).startswith(images) or held(board)[:3] != b"\xd2\xcd\x31"
        if "/main.py" in unix_board.files():
            assert loaded(board).split()[1:] in (["1", "2"], ["2", "2"])
        sync_files(board, versions[1], to=to)
        assert loaded(board).split()[1:] == ["1", "2"]
        assert held(board).startswith(images[0]) is (to == "romfs")
    assert stops >= 15 // step


def test_only_modules_that_there_are_bring_no_names_ahead() -> None:
    compiled = [file for file in board_files(data_path("firmware")) if file.path.endswith(".mpy")]
    assert {f"/keyfob/{name.replace('.', '/')}.mpy" for name in romfs.SELDOM} <= {
        file.path for file in compiled
    }
    image = romfs.build(romfs.split(compiled)[1]).data
    assert b"/rom/keyfob/tls/engine.mpy\0" in image and b"keyfob.tls.engine\0" in image
    assert b"/rom/keyfob/client.mpy\0" not in image
