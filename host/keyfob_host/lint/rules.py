"""All rules there are, by what they judge."""

from __future__ import annotations

from collections.abc import Iterator

from keyfob_host.lint import (
    rules_algorithms,
    rules_certificate,
    rules_crl,
    rules_form,
    rules_key,
    rules_names,
    rules_path,
    rules_tls,
)
from keyfob_host.lint.sources import MISSING, UNREADABLE

CERTIFICATE_RULES = (*rules_certificate.RULES, *rules_names.RULES, *rules_algorithms.RULES)


def all_codes() -> Iterator[str]:
    """The codes of all rules, for whoever explains them."""
    every = (
        rules_form.RULES, CERTIFICATE_RULES, rules_path.RULES, rules_key.KEY_RULES,
        rules_key.REQUEST_RULES, rules_crl.RULES, rules_crl.LISTED_RULES, rules_tls.RULES,
        rules_tls.COMPANION_RULES,
    )  # fmt: skip
    yield from (MISSING, UNREADABLE)
    for rules in every:
        yield from (rule.code for rule in rules)
