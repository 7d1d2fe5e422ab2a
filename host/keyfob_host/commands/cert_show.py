"""``keyfob cert show``: any certificate, for people."""

from __future__ import annotations

import rich_click as click

from keyfob_host.home import find_home
from keyfob_host.pki import bench
from keyfob_host.pki.describe import describe, describe_text
from keyfob_host.ui import Ui


@click.command()
@click.argument("path_or_name", metavar="PATH|NAME")
@click.pass_obj
def show(ui: Ui, path_or_name: str) -> None:
    """Show the certificates of a file (PEM or DER), or of an identity of this bench."""
    shown = [describe(one) for one in bench.find_certs(find_home(), path_or_name)]
    ui.result("\n\n".join(map(describe_text, shown)), {"certificates": shown})
