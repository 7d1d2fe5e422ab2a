"""The check: groups of files in, findings out.

`examine` gathers the files into groups, and has each judged by `group_check`. It asks for
no passphrase, opens no connection and changes nothing. Not checked: whether a name resolves,
OCSP, certificate policies, Certificate Transparency.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path

from cryptography.utils import CryptographyDeprecationWarning

from keyfob_host.lint.finding import Context, Finding, Report, Role, Severity
from keyfob_host.lint.group_check import GroupCheck
from keyfob_host.lint.sources import gather

_RANK = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.NOTE: 2}


def check(paths: Iterable[Path], context: Context, role: Role | None = None) -> list[Finding]:
    """The findings of `examine`."""
    return examine(paths, context, role).findings


def examine(paths: Iterable[Path], context: Context, role: Role | None = None) -> Report:
    """Check files, folders and broker configurations.

    ``role``: of the end-entities, where their place and their usages do not say it; ``ca``
    for all certificates. Errors: those of `sources.gather`; whatever is wrong with the
    content of a file is a finding.
    """
    report = Report()
    known: set[object] = set()
    with warnings.catch_warnings():
        # What the library warns of is a finding here.
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        warnings.simplefilter("ignore", UserWarning)
        checks = [GroupCheck(group, context, role, report, known) for group in gather(paths)]
        for one in checks:
            one.run(checks)
    found = dict.fromkeys(report.findings)
    report.findings = sorted(found, key=lambda finding: _RANK[finding.severity])
    report.checked = list(dict.fromkeys(report.checked))
    return report
