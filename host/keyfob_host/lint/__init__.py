"""A linter for certificates, keys, requests and revocation lists that knows boards and brokers.

`check` is the whole of it for other modules. Flow: `sources` (paths -> groups of files) ->
`reading` (a file -> its items) -> `certificate` and `private_keys` (an item -> its facts) ->
`paths` (who issued whom) -> `group_check` (asks the) ``rules_*`` (facts -> findings).
"""

from __future__ import annotations

from keyfob_host.lint.check import check, examine
from keyfob_host.lint.finding import Context, Finding, Report, Role, Severity

__all__ = ["Context", "Finding", "Report", "Role", "Severity", "check", "examine"]
