"""Rules for a file's form: what boards, brokers and Keyfob cannot read at all.

FAILURES of this kind show on a board as "invalid cert" or "invalid key" and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from keyfob_host.lint.finding import Rule, Severity
from keyfob_host.lint.subjects import FileSubject, Use

_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTE
_DER_SUFFIXES = (".der",)
_PEM_SUFFIXES = (".pem",)
_WANTED: dict[Use, str] = {
    "chain": "certificate", "certificate": "certificate", "anchors": "certificate",
    "key": "key", "crl": "crl", "request": "request",
}  # fmt: skip
_MINGLED: dict[Use, tuple[str, ...]] = {"chain": ("key",), "key": ("certificate",)}
_SUFFIXES = {
    ".crt": "certificate", ".cer": "certificate", ".key": "key", ".p8": "key", ".pk8": "key",
    ".csr": "request", ".req": "request", ".crl": "crl",
}  # fmt: skip
_STEMS = {"certificate": ("cert", "chain"), "key": ("key",), "request": ("csr",), "crl": ("crl",)}


def _trouble(code: str) -> Callable[[FileSubject], Iterator[str]]:
    def judge(subject: FileSubject) -> Iterator[str]:
        yield from (text for found, text in subject.read.troubles if found == code)

    return judge


def _wrong_kind(subject: FileSubject) -> Iterator[str]:
    wanted = _WANTED.get(subject.use)
    kinds = [item.kind for item in subject.read.items]
    if wanted and kinds and wanted not in kinds:
        yield f"holds {_counted(kinds)}; {_article(wanted)} is wanted here"


def _mingled(subject: FileSubject) -> Iterator[str]:
    kinds = [item.kind for item in subject.read.items]
    wanted = _WANTED.get(subject.use)
    if subject.use == "any":
        wanted = "certificate" if {"certificate", "key"} <= set(kinds) else None
    others = [kind for kind in kinds if kind != wanted]
    if wanted in kinds and others:
        yield f"holds {_counted(kinds)}"


def _misleading_name(subject: FileSubject) -> Iterator[str]:
    """Where nothing but its name says what a file is for."""
    kinds = {item.kind for item in subject.read.items}
    path = subject.read.path
    wanted = _SUFFIXES.get(path.suffix.lower())
    for kind, ends in _STEMS.items():
        if wanted is None and path.stem.lower().endswith(ends):
            wanted = kind
    if subject.use == "any" and kinds and wanted and wanted not in kinds:
        yield f"by its name it is {_article(wanted)}; it holds {_counted(sorted(kinds))}"


def _several(subject: FileSubject) -> Iterator[str]:
    count = len(subject.read.of_kind("key")) if subject.use in ("key", "any") else 0
    if count > 1:
        yield f"{count} private keys; only the first is read"
    certificates = len(subject.read.of_kind("certificate"))
    if subject.use == "certificate" and certificates > 1:
        yield f"{certificates} certificates; only the first is read"


def _pem_named_der(subject: FileSubject) -> Iterator[str]:
    if subject.read.is_pem and subject.read.path.suffix.lower() in _DER_SUFFIXES:
        yield f"{subject.read.path.name} begins with -----BEGIN, want the byte 30"


def _der_named_pem(subject: FileSubject) -> Iterator[str]:
    is_der = bool(subject.read.items) and not subject.read.is_pem
    if is_der and not subject.is_brokers and subject.read.path.suffix.lower() in _PEM_SUFFIXES:
        yield f"{subject.read.path.name} begins with the byte 30, want -----BEGIN"


def _der_for_broker(subject: FileSubject) -> Iterator[str]:
    if subject.is_brokers and subject.read.items and not subject.read.is_pem:
        yield f"{subject.read.path.name} begins with the byte 30, want -----BEGIN"


def _unknown(subject: FileSubject) -> Iterator[str]:
    for item in subject.read.items:
        if item.kind in ("other", "public key"):
            yield item.label or item.kind


def _counted(kinds: Sequence[str]) -> str:
    counts = {kind: kinds.count(kind) for kind in kinds}
    return " and ".join(f"{count} {kind}{'s' * (count > 1)}" for kind, count in counts.items())


def _article(kind: str) -> str:
    return f"a {kind}"


_CONVERT = "openssl x509 -in {file} -outform PEM -out {file}.new && mv {file}.new {file}"

RULES: tuple[Rule[FileSubject], ...] = (
    Rule(
        "lint.empty", _E, "the file is empty", "copy or make it again: ls -l {file}",
        _trouble("lint.empty"),
    ),
    Rule(
        "lint.not-pem-or-der", _E, "the file is neither PEM nor DER",
        "look at it: head -c 200 {file} | xxd", _trouble("lint.not-pem-or-der"),
    ),
    Rule(
        "lint.bom", _W, "a byte order mark stands in front, which some boards' TLS refuses",
        "sed -i '1s/^\\xEF\\xBB\\xBF//' {file}", _trouble("lint.bom"),
    ),
    Rule(
        "lint.utf-16", _E, "the text is in UTF-16, in which nobody finds a BEGIN line",
        "iconv -f UTF-16 -t ASCII {file} > {file}.new && mv {file}.new {file}",
        _trouble("lint.utf-16"),
    ),
    Rule(
        "lint.crlf", _W, "lines end as on Windows, which some boards' TLS refuses",
        "sed -i 's/\\r$//' {file}", _trouble("lint.crlf"),
    ),
    Rule(
        "lint.text-outside", _N, "there is text outside of the BEGIN and END lines",
        "fine for OpenSSL; to leave it out: openssl x509 -in {file} -out {file}.new",
        _trouble("lint.text-outside"),
    ),
    Rule(
        "lint.truncated", _E, "the file is cut off", "copy it again, and compare: sha256sum {file}",
        _trouble("lint.truncated"),
    ),
    Rule(
        "lint.pem-broken", _E, "what is between BEGIN and END is damaged",
        "copy it again, and compare: sha256sum {file}", _trouble("lint.pem-broken"),
    ),
    Rule(
        "lint.trailing-bytes", _E, "there are bytes behind the end of the DER",
        "openssl asn1parse -inform DER -in {file}", _trouble("lint.trailing-bytes"),
    ),
    Rule(
        "lint.wrong-kind", _E, "the file holds something else than it is for; were two swapped?",
        "look at it: grep BEGIN {file}", _wrong_kind,
    ),
    Rule(
        "lint.misleading-name", _W, "the file's name says something else than its content",
        "rename it after looking at it: grep BEGIN {file}", _misleading_name,
    ),
    Rule(
        "lint.mingled", _W, "a private key and certificates are in one file, and whoever gets "
        "the certificates gets the key", "give each a file of its own: grep -n BEGIN {file}",
        _mingled,
    ),
    Rule(
        "lint.several", _W, "there are several in a file that is read for one",
        "keep the right one: grep -n BEGIN {file}", _several,
    ),
    Rule(
        "lint.pem-named-der", _E, "the file is named as DER and holds PEM, which no board takes "
        "for a certificate or key", "openssl x509 -in {file} -outform DER -out {file}.new "
        "&& mv {file}.new {file}  # a key: openssl pkey", _pem_named_der,
    ),
    Rule(
        "lint.der-named-pem", _W, "the file is named as PEM and holds DER",
        "openssl x509 -inform DER -in {file} -out {file}.new && mv {file}.new {file}  "
        "# a key: openssl pkey", _der_named_pem,
    ),
    Rule(
        "lint.der-for-broker", _E, "mosquitto reads PEM only, and this is DER",
        "openssl x509 -inform DER -in {file} -out {file}.new && mv {file}.new {file}  "
        "# a key: openssl pkey", _der_for_broker,
    ),
    Rule(
        "lint.unknown-content", _N, "the file holds something that boards and brokers do not use",
        "look at it: grep BEGIN {file}", _unknown,
    ),
)  # fmt: skip
