"""``keyfob cert``: the table of its commands."""

from __future__ import annotations

from keyfob_host.command_table import command_group

COMMANDS: dict[str, tuple[str, str]] = {
    "broker": ("keyfob_host.commands.cert_issue:broker", "Issue a broker's certificate."),
    "device": ("keyfob_host.commands.cert_issue:device", "Issue a device's identity."),
    "make": ("keyfob_host.commands.cert_make:make_command", "Make all that a plan names."),
    "devices": ("keyfob_host.commands.cert_batch:devices", "Issue thousands of identities."),
    "show": ("keyfob_host.commands.cert_show:show", "Show the certificates of a file or identity."),
    "check": ("keyfob_host.commands.cert_check:check", "Check files for boards and brokers."),
    "export": ("keyfob_host.commands.cert_export:export_command", "Write PEM, DER, p12, C, NVS."),
    "list": ("keyfob_host.commands.cert_list:list_", "List every certificate, and its state."),
    "expiring": ("keyfob_host.commands.cert_list:expiring", "Show what ends soon; for cron."),
    "renew": ("keyfob_host.commands.cert_renew:renew", "Issue again what is in use."),
    "revoke": ("keyfob_host.commands.cert_revoke:revoke", "Revoke one, and sign the CRL."),
}


@command_group(COMMANDS)
def cert() -> None:
    """Issue broker certificates and device identities."""
