"""The firmware's packages as one ROMFS image, and that image in the flash of a board.

Bytecode in a ROMFS stays in flash: the interpreter mounts the image at ``/rom`` before
``boot.py`` and runs modules where they lie. mpremote's own writer makes the image, so
``mpremote romfs query`` and ``deploy`` understand it. It goes to the board in another
order than theirs, so that a cut never leaves half an image that is taken for a whole
one: the old header is overwritten first (four zero bytes, which flash takes without
being erased), then come erasing, everything but the new header, its SHA-256 compared
on the board, and the header last. A board has the old image, none, or the new one.

Spoken to are the two kinds of partition that Espressif's ports have (MicroPython 1.26 to
1.29): memory (ESP8266, erased through ``vfs.rom_ioctl``) and a block device (ESP32).
Not checked: that nothing runs from the old image while it is replaced; a board that is
at its raw REPL, with its ``main.py`` not run, does not.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import cast

from mpremote.romfs import VfsRomWriter

from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.mpy import BoardFile
from keyfob_host.qstr_table import with_more_names, without_open_end
from keyfob_host.transport import Transport
from keyfob_host.transport.upload import pieces

ROOT = "/rom"
MARK = "keyfob.sync"  # the image's first file: whose it is can be seen in its first bytes
_MARK_TEXT = b"Made by keyfob sync.\n"
# Imported first of all and let go of; it brings the names of the others.
_NAMED_IN = "/keyfob/board.mpy"
# Not of those that a board with little memory loads seldom or never: each name takes a place,
# and behind 620 of them an ESP8266's next table is one of 640, 4 KB in one piece.
_SELDOM = """
    client inbox outbox stored streamed subscription rotation_tasks shell shell_board
    shell_mqtt crypto.cbc crypto.hkdf crypto.p384 crypto.rsa crypto.rsa_encrypt crypto.rsa_pss
    crypto.rsa_sign crypto.sha384 crypto.weierstrass crypto.x25519 mqtt.granted mqtt.properties
    mqtt.session5 mqtt.text pki.constraints pki.private_key_rsa pki.pss tls.certificate13
    tls.client13 tls.context tls.finished13 tls.handshake13 tls.hello13 tls.keys13 tls.late13
    tls.mbedtls tls.mbedtls_stream tls.protection13 tls.protection_cbc tls.tap tls.verify13
"""
SELDOM = frozenset(_SELDOM.split())
_MAGIC = b"\xd2\xcd\x31"
_HEAD_BYTES = 4  # magic and the first byte of the length; what a port programs at least
_LOOK_BYTES = 48
_MODULES = (".mpy", ".py")
_HASH_TIMEOUT_S = 60.0
_ERASE_TIMEOUT_S = 60.0  # 80 sectors of 4 KB; a worn chip takes up to 0.4 s for each

# d: the partition; _kr_h: SHA-256 of a part of it, in steps that leave the heap alone.
_PARTITION = """\
import hashlib,binascii
try:
 import vfs
 d=vfs.rom_ioctl(2,0)
except(ImportError,AttributeError):
 d=None
def _kr_h(a,n):
 h=hashlib.sha256()
 m=memoryview(d)
 while a<n:
  h.update(m[a:min(a+1024,n)])
  a+=1024
 return binascii.hexlify(h.digest()).decode()
"""
_LOOK = """\
if d is None:print((-1,b'',''))
elif isinstance(d,int):print((0,b'',''))
else:
 n=len(memoryview(d))
 print((n,bytes(memoryview(d)[:%d]),_kr_h(0,%d) if 0<%d<=n else ''))
"""
# _kr_p: program without erasing. _kr_t: the next bytes, in whole words; a rest is kept.
_WRITER = f"""\
import sys
try:
 import deflate,io
 deflate.DeflateIO
except(ImportError,AttributeError):
 deflate=None
_kr_b=hasattr(d,'ioctl')
def _kr_p(a,s):
 if _kr_b:
  z=d.ioctl(5,0)
  d.writeblocks(a//z,s,a%z)
 else:_kr_c(vfs.rom_ioctl(4,0,a,s))
def _kr_c(r):
 if r<0:raise OSError(-r)
def _kr_o():
 try:vfs.umount('{ROOT}')
 except OSError:pass
 _kr_p(0,bytes({_HEAD_BYTES}))
def _kr_e(n):
 global _kr_a,_kr_r
 _kr_o()
 if _kr_b:
  for i in range(-(-n//d.ioctl(5,0))):d.ioctl(6,i)
 else:_kr_c(vfs.rom_ioctl(3,0,n))
 _kr_a={_HEAD_BYTES}
 _kr_r=b''
def _kr_t(s):
 global _kr_a,_kr_r
 s=_kr_r+s
 n=len(s)&-4
 if n:_kr_p(_kr_a,memoryview(s)[:n])
 _kr_a+=n
 _kr_r=s[n:]
def _kr_w(s):
 _kr_t(binascii.a2b_base64(s))
def _kr_z(s):
 _kr_t(deflate.DeflateIO(io.BytesIO(binascii.a2b_base64(s)),deflate.RAW,10).read())
def _kr_x(n,h,s):
 x=_kr_h({_HEAD_BYTES},n)
 if x==h:
  _kr_p(0,s)
  vfs.mount(vfs.VfsRom(d),'{ROOT}')
  if '{ROOT}' not in sys.path:sys.path[2:2]=['{ROOT}','{ROOT}/lib']
 print(x)
print(deflate is not None)
"""


@dataclass(frozen=True)
class Image:
    """A ROMFS image: its bytes, how many of the firmware's files it holds, and its
    top folders, which stand in ``/rom``."""

    data: bytes
    files: int
    folders: tuple[str, ...]

    @property
    def sha256(self) -> bytes:
        return hashlib.sha256(self.data).digest()


@dataclass(frozen=True)
class Partition:
    """What a board has to hold an image. ``size``: bytes; 0: none; -1: no ROMFS at all.

    ``digest``: SHA-256 of as many of its bytes as the image has that was asked about.
    """

    size: int
    head: bytes
    digest: bytes | None

    @property
    def holds_image(self) -> bool:
        """Whether the interpreter mounts it."""
        return self.head.startswith(_MAGIC)

    @property
    def is_ours(self) -> bool:
        """Whether sync made that image."""
        return self.holds_image and MARK.encode() in self.head


def split(wanted: Iterable[BoardFile]) -> tuple[list[BoardFile], list[BoardFile]]:
    """(what stays on the file system, what goes into the image), in the order given.

    Into the image go the packages: top folders with modules in them, and what else they
    hold. ``boot.py``, ``main.py`` and folders of mere data stay where programs look for
    them.
    """
    plain: list[BoardFile] = []
    packed: list[BoardFile] = []
    files = list(wanted)
    packages = {
        file.path.split("/")[1]
        for file in files
        if file.path.count("/") > 1 and file.path.endswith(_MODULES)
    }
    for file in files:
        in_package = file.path.count("/") > 1 and file.path.split("/")[1] in packages
        (packed if in_package else plain).append(file)
    return plain, packed


def build(packed: list[BoardFile]) -> Image:
    """The image of these files: the same bytes for the same files."""
    writer = VfsRomWriter()
    writer.mkfile(MARK, _MARK_TEXT)
    inside: list[str] = []  # the folder that is open, from the top
    for file in sorted(packed, key=lambda file: file.path.split("/")):
        *folders, name = file.path[1:].split("/")
        while inside != folders[: len(inside)]:
            writer.closedir()
            inside.pop()
        for folder in folders[len(inside) :]:
            writer.opendir(folder)
            inside.append(folder)
        data = file.data
        if file.path == _NAMED_IN:
            data = without_open_end(with_more_names(data, _import_names(packed)))
        writer.mkfile(name, data)
    for _ in inside:
        writer.closedir()
    folders = sorted({file.path.split("/")[1] for file in packed})
    return Image(bytes(writer.finalise()), len(packed), tuple(folders))


def _import_names(packed: list[BoardFile]) -> list[str]:
    """What importing makes of each module but `SELDOM`: its path and its dotted name.

    The interpreter keeps both for ever, in copies of their own (50 bytes of heap a module)
    unless they are names already that lie in the image.
    """
    dotted = {
        file.path: file.path[1:-4].replace("/", ".").removesuffix(".__init__")
        for file in packed
        if file.path.endswith(".mpy")
    }
    often = {path: name for path, name in dotted.items() if name.partition(".")[2] not in SELDOM}
    return [*(ROOT + path for path in often), *often.values()]


def look(board: Transport, image: Image | None = None) -> Partition:
    """What the board's partition is and holds; one round trip, nothing is changed."""
    size = len(image.data) if image else 0
    answer = board.exec(
        _PARTITION + _LOOK % (_LOOK_BYTES, size, size),
        timeout_s=_HASH_TIMEOUT_S,
        doing="looking at its ROMFS",
    )
    found, head, digest = cast("tuple[int, bytes, str]", ast.literal_eval(answer.decode().strip()))
    return Partition(found, head, bytes.fromhex(digest) or None)


def check_room(part: Partition, image: Image, board: str, *, prune: bool) -> None:
    """Refuse what would not end with ``image`` in the partition, or with another's lost.

    ``prune`` lets an image go that sync did not make. Errors: ``sync.no-romfs``,
    ``sync.romfs-too-small``, ``sync.romfs-foreign``.
    """
    as_files = f"keyfob sync --board {board} --to files"
    if part.size <= 0:
        missing = "vfs.rom_ioctl" if part.size else "partition for it"
        image_name = (
            "ESP8266_GENERIC-FLASH_2M_ROMFS.bin"
            if "esp8266" in board
            else "an image with a partition 'romfs'"
        )
        raise KeyfobHostError(
            "sync.no-romfs", "the board's MicroPython has no ROMFS to hold the firmware",
            evidence=f"there is no {missing} on this board",
            fix=f"write an image that has ROMFS, with keyfob flash --board {board} "
            f"({image_name}); or send plain files: {as_files}",
            status=ExitStatus.BOARD,
        )  # fmt: skip
    if len(image.data) > part.size:
        raise KeyfobHostError(
            "sync.romfs-too-small", "the firmware does not fit into the board's ROMFS partition",
            evidence=f"image {len(image.data)} bytes, partition {part.size} bytes",
            fix=f"send plain files: {as_files}", status=ExitStatus.BOARD,
        )  # fmt: skip
    if part.holds_image and not part.is_ours and not prune:
        raise KeyfobHostError(
            "sync.romfs-foreign", "the board's ROMFS holds an image that sync did not put there",
            evidence=f"there is no {ROOT}/{MARK} in it",
            fix=f"to replace it: keyfob sync --board {board} --to romfs --prune; "
            f"to keep it: {as_files}",
            status=ExitStatus.BOARD,
        )  # fmt: skip


def deploy(board: Transport, image: Image, on_step: Callable[[str], None]) -> None:
    """Replace what the partition holds by ``image``, and mount it.

    Errors: ``sync.romfs-corrupt`` (there is no image then), ``board.*``.
    """
    on_step(f"  {ROOT} ({len(image.data)} bytes, {image.files} files)")
    answer = board.exec(_PARTITION + _WRITER, doing="preparing the board for a ROMFS image")
    size = len(image.data)
    board.exec(f"_kr_e({size})", timeout_s=_ERASE_TIMEOUT_S, doing="erasing its ROMFS")
    head, body = image.data[:_HEAD_BYTES], image.data[_HEAD_BYTES:]
    todo = pieces(body + bytes(-size % 4), board.piece_chars, deflate=answer.strip() == b"True")
    done = told = 0
    for kind, text, count in todo:
        board.exec(f"_kr_{kind}('{text}')", doing="writing its ROMFS")
        done += count
        if done * 4 // size > told:
            told = done * 4 // size
            on_step(f"  {ROOT} {told * 25} %")
    digest = hashlib.sha256(body).hexdigest()
    seen = board.exec(
        f"_kr_x({size},'{digest}',{head!r})", timeout_s=_HASH_TIMEOUT_S, doing="checking its ROMFS"
    ).decode()
    if seen.strip() != digest:
        raise KeyfobHostError(
            "sync.romfs-corrupt",
            "the ROMFS image did not reach the board as it was sent; it has none now",
            evidence=f"SHA-256 sent {digest[:16]}…, on the board {seen[:16]}…",
            fix="check cable and power and run the command again; or lower serial.baud",
            status=ExitStatus.BOARD,
        )


def drop(board: Transport) -> None:
    """Make the partition hold no image any more."""
    board.exec(_PARTITION + _WRITER + "_kr_o()\n", doing="taking its ROMFS image away")
