"""``keyfob cert export``: an identity, a certificate file or the CA, for other tools."""

from __future__ import annotations

import sys
from pathlib import Path
from shlex import quote

import rich_click as click

from keyfob_host.commands.passphrase import (
    ask_new_passphrase,
    given_passphrase,
    passphrase_options,
)
from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.files import KEY_MODE, write_atomic
from keyfob_host.home import Home, find_home
from keyfob_host.pki import bench
from keyfob_host.pki.ca_folder import CERT_FILE, signing_folder, trusted_certs
from keyfob_host.pki.export import FORMATS, Bundle, Files, Format, export, pem_bundle
from keyfob_host.pki.folder import write_folder
from keyfob_host.pki.identity import Identity, issued_by, load_certs
from keyfob_host.pki.template import common_name
from keyfob_host.printable import printable
from keyfob_host.ui import Ui

_STDOUT = "-"
# What makes --out of a pem or der export one file; anything else is a folder.
_FILES = (".pem", ".crt", ".cer", ".der")


@click.command(name="export")
@click.argument("name_or_path", metavar="NAME|PATH")
@click.option("--format", "form", type=click.Choice(FORMATS), required=True)
@click.option(
    "--out", metavar="FILE|DIR|-",
    help="Where to write; - is standard output. Default: a name in this folder.",
)  # fmt: skip
@click.option("--with-key", is_flag=True, help="The private key too; files have mode 0600.")
@passphrase_options
@click.option("--legacy", is_flag=True, help="p12: 3DES and SHA-1, for old tools only.")
@click.option("--pem-string", is_flag=True, help="c-header, nvs-csv: PEM text instead of DER.")
@click.option(
    "--prefix", default="keyfob_", show_default=True, help="c-header: how identifiers begin."
)
@click.option("--namespace", default="keyfob", show_default=True, help="nvs-csv: NVS namespace.")
@click.option("--force", is_flag=True, help="Replace files that are there.")
@click.pass_obj
def export_command(
    ui: Ui,
    name_or_path: str,
    form: Format,
    out: str | None,
    with_key: bool,
    passphrase_file: Path | None,
    passphrase_env: str | None,
    legacy: bool,
    pem_string: bool,
    prefix: str,
    namespace: str,
    force: bool,
) -> None:
    """Write certificates for other tools: an identity, ``ca``, or a certificate file.

    pem and der are several files, p12, c-header and nvs-csv are one. The private key
    goes along with --with-key only. The passphrase encrypts a p12, or the key of a pem.
    """
    home = find_home()
    bundle = _find(home, name_or_path, with_key)
    passphrase = given_passphrase(passphrase_file, passphrase_env)
    if passphrase is None and form == "p12":
        passphrase = ask_new_passphrase(f"Passphrase for {bundle.stem}.p12")
    files = export(
        bundle, form, with_key=with_key, passphrase=passphrase, legacy=legacy,
        pem_string=pem_string, prefix=prefix, namespace=namespace,
    )  # fmt: skip
    if out == _STDOUT:
        _to_stdout(ui, files, form)
        return
    written = _write(files, bundle, form, out, force)
    state = "none (--with-key adds it)" if bundle.chain else "none"
    if with_key:
        state = "encrypted" if passphrase is not None else "in clear, mode 0600: keep it out of git"
    below = signing_folder(home.ca_dir)
    if name_or_path == "ca" and below != home.ca_dir and not bundle.chain:
        ui.step(
            "note: that is whom to trust; the intermediate beside it: "
            f"keyfob cert export {quote(str(below))} --format {form}"
        )
    paths = [str(path) for path in written]
    ui.result(
        f"exported {printable(bundle.name)} as {form}\nfiles    " + "\n         ".join(paths)
        + f"\nkey      {state}",
        {"name": bundle.name, "format": form, "with_key": with_key, "files": paths},
    )  # fmt: skip


def _find(home: Home, name_or_path: str, with_key: bool) -> Bundle:
    """What is meant; a key is opened only if it is asked for."""
    given = Path(name_or_path)
    folders = [given]
    if len(given.parts) == 1 and not given.is_file():
        folders += [home.certs_dir / kind / given for kind in ("device", "broker")]
    folder = next((one for one in folders if (one / "cert.pem").exists()), None)
    if folder is not None:
        if with_key:
            return Bundle.of(Identity.read(folder))
        chain = tuple(load_certs(folder / "chain.pem", "the certificate chain"))
        trusted = tuple(load_certs(folder / "ca.pem", "the trust anchors"))
        return Bundle(folder.resolve().name, chain, trusted)
    is_ca = (given / CERT_FILE).exists()
    if name_or_path == "ca" and not is_ca and not given.is_file():
        is_ca, certs = True, list(trusted_certs(home.ca_dir))
    else:  # says what there is where nothing fits
        certs = bench.find_certs(home, name_or_path)
    if with_key and is_ca:
        raise KeyfobHostError(
            "export.ca-key",
            "the CA's key is not exported: whoever has it can make any identity",
            evidence=name_or_path,
            fix="leave --with-key out; to move a CA, copy its folder: "
            f"cp -a {quote(str(home.ca_dir))} /path/to/backup",
            status=ExitStatus.IDENTITY,
        )
    name = "ca" if is_ca else given.stem if given.is_file() else common_name(certs[0].subject)
    anchors = tuple(cert for cert in certs if issued_by(cert, cert))
    return Bundle(name, tuple(cert for cert in certs if cert not in anchors), anchors)


def _is_folder(out: str) -> bool:
    return out.endswith("/") or Path(out).is_dir()


def _to_stdout(ui: Ui, files: Files, form: Format) -> None:
    if ui.as_json:
        raise click.UsageError("With --json standard output is taken: give --out FILE.")
    content, _ = _as_one(files, form)
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()


def _as_one(files: Files, form: Format) -> tuple[bytes, int]:
    if form == "pem":
        return pem_bundle(files)
    if len(files) == 1:
        return next(iter(files.values()))
    raise KeyfobHostError(
        "export.several-files",
        f"{form} is several files, and one was asked for",
        evidence=", ".join(files),
        fix="--out FOLDER, or --format pem",
    )


def _write(files: Files, bundle: Bundle, form: Format, out: str | None, force: bool) -> list[Path]:
    """Write into a folder, or the one file; the paths written."""
    folder = Path(out) if out is not None else Path()
    several = form in ("pem", "der")
    if out is None and several:
        folder = Path(f"{bundle.stem}-{form}")
    elif out is not None and not _is_folder(out) and (not several or folder.suffix in _FILES):
        files, folder = {folder.name: _as_one(files, form)}, folder.parent
    paths = [folder / name for name in files]
    if not folder.exists():
        try:
            write_folder(folder, files)
            return paths
        except FileExistsError:  # another process was first
            pass
    there = [path for path in paths if path.exists()]
    if there and not force:
        raise KeyfobHostError(
            "export.exists",
            "there is already a file of that name",
            evidence=", ".join(map(str, there)),
            fix="run the command again with --force, or with --out another-name",
        )
    # Into a folder with other things in it, file by file; the key last.
    for path in sorted(paths, key=lambda path: files[path.name][1] == KEY_MODE):
        content, mode = files[path.name]
        write_atomic(path, content, mode=mode)
    return paths
