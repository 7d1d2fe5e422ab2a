"""keyfob_host.names: which names of compiled modules are replaced, and by what."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob_host.data import data_path
from keyfob_host.errors import KeyfobHostError
from keyfob_host.mpy import BoardFile, board_files, bytecode
from keyfob_host.names import PUBLIC, merge_names, replacements
from keyfob_host.qstr_table import read_names, with_names
from keyfob_host.rom_names import ELSEWHERE, IN_ESP8266_ROM, IN_EVERY_ROM, LOOKED_UP, STATIC
from keyfob_host.tracebacks import with_own_name

FIRMWARE = data_path("firmware")
ROM = {*STATIC, *IN_EVERY_ROM, *IN_ESP8266_ROM}

Renames = dict[str, dict[str, str]]


def renames(folder: Path, **sources: str) -> Renames:
    """What is replaced in modules of ``keyfob`` by the name of each; ``main`` and others
    that begin with ``app_`` are outside of it."""
    for name, text in sources.items():
        outside = name == "main" or name.startswith("app_")
        path = folder / (f"{name}.py" if outside else f"keyfob/{name}.py")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    found = replacements(folder, board_files(folder))
    return {path.removeprefix("/keyfob/").removesuffix(".mpy"): new for path, new in found.items()}


# -- the table -----------------------------------------------------------------------------


def varuint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    while data[at] & 0x80:
        value = (value << 7) + data[at] - 0x80
        at += 1
    return (value << 7) + data[at], at + 1


def rest_of(data: bytes) -> tuple[bytes, int, int, bytes]:
    """Header, number of names and of objects, and all that follows the table."""
    count, at = varuint(data, 4)
    objects, at = varuint(data, at)
    for _ in range(count):
        value, at = varuint(data, at)
        if value % 2 == 0:
            at += value // 2 + 1
    return data[:4], count, objects, data[at:]


def test_the_numbers_of_static_names_are_those_of_mpy_cross(tmp_path: Path) -> None:
    names = [name for name in STATIC if name.isidentifier()]
    source = tmp_path / "static.py"
    source.write_text("".join(f"x.{name}\n" for name in names))
    compiled = bytecode(source, "static")
    found = read_names(compiled)
    assert [name for name in found if name != "x"] == ["static", "<module>", *names]
    assert with_names(compiled, found) == compiled


@given(names=st.lists(st.text(max_size=200), min_size=1, max_size=300), rest=st.binary())
def test_a_table_comes_back_as_it_was_put(names: list[str], rest: bytes) -> None:
    empty = b"M\x06\0\x1f" + bytes((len(names) >> 7 | 0x80, len(names) & 0x7F, 9))
    data = empty + b"\x03" * len(names) + rest  # as many times the empty name
    made = with_names(data, names)
    assert read_names(made) == names
    assert rest_of(made) == (data[:4], len(names), 9, rest)


@pytest.mark.parametrize(
    "data",
    [b"", b"M", b"M\x05\0\x1f\0\0", b"C\x06\0\x1f\0\0", b"M\x06\0\x1f\x01\0",
     b"M\x06\0\x1f\x01\0\x04ab", b"M\x06\0\x1f\x01\0\x04abc", b"M\x06\0\x1f\x01\0\x01"],
)  # fmt: skip
def test_what_is_no_mpy_file_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        read_names(data)


def test_a_table_of_another_length_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "a.py"
    source.write_text("b = 1\n")
    with pytest.raises(ValueError, match="1 names for a table of"):
        with_names(bytecode(source, "a"), ["a"])


# -- the firmware --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def full() -> list[BoardFile]:
    return board_files(FIRMWARE)


@pytest.fixture(scope="module")
def short(full: list[BoardFile]) -> list[BoardFile]:
    return merge_names(FIRMWARE, full)


def test_nothing_but_tables_of_the_package_differs(
    full: list[BoardFile], short: list[BoardFile]
) -> None:
    assert [file.path for file in short] == [file.path for file in full]
    changed = 0
    for old, new in zip(full, short, strict=True):
        if not (old.path.startswith("/keyfob/") and old.path.endswith(".mpy")):
            assert new == old
            continue
        assert rest_of(new.data) == rest_of(old.data)
        assert read_names(new.data)[0] == read_names(old.data)[0]  # what tracebacks say
        changed += new.data != old.data
    assert changed > 50


def test_only_parameters_of_a_module_become_one(full: list[BoardFile]) -> None:
    tables = {file.path: read_names(file.data) for file in full if file.path.endswith(".mpy")}
    for path, new in replacements(FIRMWARE, full).items():
        named = [name for name in new.values() if name != "*"]
        assert len(named) == len(set(named))
        assert not set(named) & set(tables[path])


def test_the_same_sources_give_the_same_bytes(full: list[BoardFile]) -> None:
    again = merge_names(FIRMWARE, list(reversed(full)))
    assert sorted(again, key=lambda file: file.path) == sorted(
        merge_names(FIRMWARE, full), key=lambda file: file.path
    )


def test_most_names_of_the_firmware_are_the_boards_own(
    full: list[BoardFile], short: list[BoardFile]
) -> None:
    def new_to_a_board(files: list[BoardFile]) -> set[str]:
        compiled = [file for file in files if file.path.endswith(".mpy")]
        return {name for file in compiled for name in read_names(file.data)} - ROM

    assert len(new_to_a_board(short)) * 2 < len(new_to_a_board(full))


def test_targets_occur_nowhere_else(full: list[BoardFile], short: list[BoardFile]) -> None:
    before = {n for f in full if f.path.endswith(".mpy") for n in read_names(f.data)}
    after = {n for f in short if f.path.endswith(".mpy") for n in read_names(f.data)}
    targets = after - before
    words = set()
    for path in FIRMWARE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                words.update((node.value, *node.value.split(".")))
    assert targets <= ROM - LOOKED_UP - words - {"*"}


def test_what_applications_are_told_to_use_exists_and_keeps_its_name(
    short: list[BoardFile],
) -> None:
    tables = {f.path: set(read_names(f.data)) for f in short if f.path.endswith(".mpy")}
    for module, names in PUBLIC.items():
        stem = "/" + module.replace(".", "/")
        table = tables[f"{stem}.mpy" if f"{stem}.mpy" in tables else f"{stem}/__init__.mpy"]
        assert set(names.split()) <= table, module


def test_classes_derive_from_nothing_whose_attributes_could_be_met() -> None:
    bases, classes = set(), set()
    for path in (FIRMWARE / "keyfob").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef):
                classes.add(node.name)
                bases.update(ast.unparse(base) for base in node.bases)
    assert bases - classes <= {"Exception", "io.IOBase"}


# -- the rule ------------------------------------------------------------------------------


def test_an_attribute_becomes_one_name_everywhere(tmp_path: Path) -> None:
    new = renames(
        tmp_path,
        a="class Link:\n def __init__(self): self.rate_bauds = 1\n",
        b="from keyfob.a import Link\n\ndef speed(): return Link().rate_bauds\n",
    )
    assert new["a"]["rate_bauds"] == new["b"]["rate_bauds"] in ROM - LOOKED_UP
    assert new["a"]["Link"] == new["b"]["Link"] != new["a"]["rate_bauds"]


def test_modules_share_what_stands_for_names_of_their_own(tmp_path: Path) -> None:
    text = "def _{0}_one(): pass\ndef _{0}_two(): _{0}_one()\n"
    new = renames(tmp_path, a=text.format("a"), b=text.format("b"))
    assert len(set(new["a"].values())) == len(new["a"]) == 2
    assert set(new["a"].values()) == set(new["b"].values())


def test_a_parameter_that_goes_by_its_place_has_no_name(tmp_path: Path) -> None:
    text = "def scaled(amount, *, factor_k): return amount * factor_k\nscaled(1, factor_k=2)\n"
    new = renames(tmp_path, a=text)["a"]
    assert new["amount"] == "*"
    assert new["factor_k"] != "*"  # by keyword only: the table of defaults goes by it


@pytest.mark.parametrize(
    "more",
    ["scaled(amount=1)", "amount = 3", "class _X:\n amount = 1", "x.amount", "x['amount']",
     "scaled(**{})", "from keyfob.b import amount"],
)  # fmt: skip
def test_a_parameter_that_is_something_else_too_is_not_nameless(tmp_path: Path, more: str) -> None:
    new = renames(tmp_path, a=f"def scaled(amount): return amount\n{more}\n", b="amount = 1\n")
    assert new["a"].get("amount") != "*"


def test_a_parameter_with_the_name_of_a_builtin_keeps_it(tmp_path: Path) -> None:
    new = renames(tmp_path, a="def f(min): return min\n\ndef g(x1y): return min(x1y)\n")
    assert "min" not in new["a"]


KEPT = {
    "a string": "_rate = 1\nprint('_rate')",
    "a key": "_rate = 1\nx = {'_rate': 2}['_rate']",
    "a part of a string between dots": "_rate = 1\n__import__('apps._rate.x')",
    "a word where names are made": "_rate = 1\ndef f(n): return getattr(n, n, 'no _rate here')",
    "the beginning of what is made": "_rate = 1\ndef f(n): return getattr(n, '_ra' + n)",
    "the end of what is made": "_rate = 1\ndef f(n): return getattr(n, n + 'te')",
    "a pattern for what is made": "_rate = 1\ndef f(n): return getattr(n, '_r%se' % n)",
    "a format for what is made": "_rate = 1\ndef f(n): return getattr(n, '_r{}e'.format(n))",
    "an f-string for what is made": "_rate = 1\ndef f(n): return getattr(n, f'_r{n}')",
    "a module": "import _rate",
    "a part of a package": "from keyfob._rate import x",
    "from a foreign module": "from machine import _rate",
    "not ours at all": "import x\nx._rate",
    "a keyword of what is not ours": "def f(_rate=0): pass\nx(_rate=1)",
    "a keyword of a variable": "def f(_rate=0): pass\ndef g(f): f(_rate=1)",
    "a keyword of an attribute": "def f(_rate=0): pass\nx.f = print\nx.f(_rate=1)",
    "a keyword of a function under another name": "def f(_rate=0): pass\ng = f\ng(_rate=1)",
    "a keyword that may be data": "def f(**how): print(how)\ndef g(_rate=0): pass\nf(_rate=1)",
    "a parameter that comes in a dict": "def f(_rate=0): pass\nf(**x)",
    "a parameter of a class, in a dict": "class F:\n def __init__(s, _rate): pass\nF(**x)",
}


@pytest.mark.parametrize("why", KEPT)
def test_a_name_that_may_be_meant_from_outside_is_kept(tmp_path: Path, why: str) -> None:
    new = renames(tmp_path, a=KEPT[why] + "\nprint(x)\n")["a"]
    assert "_rate" not in new


@pytest.mark.parametrize("name", ["__call__", "__rate__", "read", "readinto", "ioctl", "value"])
def test_special_names_and_those_of_streams_are_kept(tmp_path: Path, name: str) -> None:
    assert name not in renames(tmp_path, a=f"class A:\n def {name}(self): pass\n")["a"]


@pytest.mark.parametrize("name", ["CERT_REQUIRED", "verify_callback", "ifconfig", "AUTH_OWE"])
def test_a_name_of_any_port_is_kept(tmp_path: Path, name: str) -> None:
    assert name in {*ROM, *ELSEWHERE}
    assert name not in renames(tmp_path, a=f"x.{name} = 1\n")["a"]


def test_what_a_source_or_an_application_names_is_kept(tmp_path: Path) -> None:
    new = renames(
        tmp_path,
        a="_one = 1\n_two = 2\n_three = 3\n_four = 4\n",
        main="from keyfob.a import _one\n",
        app_x="import keyfob.a\nkeyfob.a._two\nx(_three=1)\n",
    )
    assert set(new["a"]) == {"_four"}


def test_what_applications_are_told_to_use_is_kept_with_its_parameters(tmp_path: Path) -> None:
    text = (
        "class Client:\n"
        " def __init__(self, setup): self._x_1 = setup\n"
        " def publish(self, topic_text): self.other_1(topic_text)\n"
        " def other_1(self, text_1): pass\n"
    )
    new = renames(tmp_path, client=text)["client"]
    assert set(new) == {"_x_1", "other_1", "text_1"}


def test_a_keyword_that_a_function_of_ours_takes_is_replaced_on_both_sides(tmp_path: Path) -> None:
    new = renames(
        tmp_path,
        a="def open_link(rate_1=0): pass\nclass Base:\n def __init__(self, rate_2): pass\n"
        "class Link(Base): pass\n",
        b="from keyfob.a import open_link, Link\nopen_link(rate_1=1)\nLink(rate_2=2)\n",
    )
    for name in ("rate_1", "rate_2"):
        assert new["a"][name] == new["b"][name] in ROM


def test_annotations_and_docstrings_keep_no_name(tmp_path: Path) -> None:
    text = '"""_rate"""\n_rate = 1\n\ndef f(x: "_rate") -> "_rate":\n "_rate"\n return _rate\n'
    assert "_rate" in renames(tmp_path, a=text)["a"]


def test_a_module_of_ours_that_is_not_compiled_keeps_all_names(tmp_path: Path) -> None:
    (tmp_path / "keyfob").mkdir()
    (tmp_path / "keyfob" / "a.py").write_text("_rate = 1\n")
    files = board_files(tmp_path, compiled=False)
    assert merge_names(tmp_path, files) == files


def test_a_source_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("def\n")
    with pytest.raises(KeyfobHostError) as told:
        merge_names(tmp_path, board_files(tmp_path))
    assert told.value.code == "sync.names-failed"
    assert "/main.py" in told.value.cause and "--names full" in told.value.fix


# -- tracebacks ----------------------------------------------------------------------------


def test_a_frame_gets_the_name_that_the_function_has_in_the_source() -> None:
    path = FIRMWARE / "keyfob" / "events.py"
    tree = ast.parse(path.read_text("utf-8"))
    emit = next(n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "emit")
    frame = '  File "keyfob.events", line %d, in %s'
    line = emit.end_lineno
    assert with_own_name(frame % (line, "heappush"), FIRMWARE) == frame % (line, "emit")


@pytest.mark.parametrize(
    "line",
    [
        'kf {"t":1,"ev":"boot"}',
        '  File "main.py", line 3, in heappush',
        '  File "keyfob.nothing", line 3, in heappush',
        '  File "keyfob.events", line 1, in <module>',
        '  File "keyfob.events", line 99999, in heappush',
    ],
)
def test_any_other_line_stays(line: str) -> None:
    assert with_own_name(line, FIRMWARE) == line
