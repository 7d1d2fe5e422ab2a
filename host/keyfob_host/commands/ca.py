"""``keyfob ca``: the table of its commands."""

from __future__ import annotations

from keyfob_host.command_table import command_group

COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("keyfob_host.commands.ca_init:init", "Make the CA."),
    "intermediate": ("keyfob_host.commands.ca_init:intermediate", "Sign a new intermediate."),
    "show": ("keyfob_host.commands.ca_init:show", "Show the CA's certificate."),
    "passphrase": ("keyfob_host.commands.ca_passphrase:passphrase", "Change its passphrase."),
    "trust": ("keyfob_host.commands.ca_trust:trust", "Let this machine's programs trust it."),
    "rollover": ("keyfob_host.commands.ca_rollover:rollover", "Go over to a new CA."),
    "crl": ("keyfob_host.commands.ca_crl:crl", "Sign the certificate revocation lists."),
}


@command_group(COMMANDS)
def ca() -> None:
    """Make and show the bench's certificate authority."""
