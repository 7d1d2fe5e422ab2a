"""An `Explanation` as text for people: what was seen, what it says, causes with their fixes."""

from __future__ import annotations

from keyfob_host.doctor.catalogue import Cause, load_catalogue
from keyfob_host.doctor.explain import Explanation, Finding
from keyfob_host.doctor.meaning import Meaning

_CAUSES_SHOWN = 4
_REST_SHOWN = 6
_FINDINGS_SHOWN = 12
_NEXT = "keyfob broker log | keyfob doctor --explain -"


def as_text(explanation: Explanation) -> str:
    """The whole answer. Ends with one next step that can be pasted."""
    findings, causes = explanation.findings, explanation.causes
    if len(findings) == 1 and _is_card(findings[0]):
        return _card(load_catalogue()[findings[0].readings[0].name])
    blocks = [_finding(one, explanation) for one in findings[:_FINDINGS_SHOWN]]
    if len(findings) > _FINDINGS_SHOWN:
        blocks.append(f"… and {len(findings) - _FINDINGS_SHOWN} more that say something")
    ambiguous = len(findings) == 1 and len(findings[0].readings) > 1
    if causes and not ambiguous:
        blocks.append(_causes(causes, several=len(findings) > 1))
    blocks.append(f"next   {_next(explanation, ambiguous)}")
    return "\n\n".join(blocks)


def _is_card(finding: Finding) -> bool:
    return len(finding.readings) == 1 and finding.readings[0].name in load_catalogue()


def _finding(finding: Finding, explanation: Explanation) -> str:
    where = f"line {finding.line}: " if explanation.lines > 1 else ""
    times = f"  ({finding.count} lines)" if finding.count > 1 else ""
    head = f"seen   {where}{finding.text}{times}"
    if len(finding.readings) == 1:
        (reading,) = finding.readings
        return f"{head}\n{_says(reading, 'says')}"
    # Of a name with two tellers (an alert, sent by either end) the causes are below.
    is_only = len(explanation.findings) == 1
    rows = [f"{head}\nsays   one of {len(finding.readings)} things; what printed it decides"]
    for number, reading in enumerate(finding.readings, start=1):
        rows.append(
            f"\n{number:>2}     {reading.name}: {reading.words}\n       from {reading.source}"
        )
        if is_only and reading.causes:
            catalogue = load_catalogue()
            cause = catalogue[reading.causes[0]]
            rows.append(f"       most often {cause.code}: {cause.cause}\n       fix    {cause.fix}")
            if len(reading.causes) > 1:
                rows.append(f"       or     {', '.join(reading.causes[1:_CAUSES_SHOWN])}")
    return "\n".join(rows)


def _says(reading: Meaning, label: str) -> str:
    rows = [f"{label:<7}{reading.name}: {reading.words}", f"from   {reading.source}"]
    if reading.fix:
        rows.append(f"fix    {reading.fix}")
    return "\n".join(rows)


def _causes(causes: tuple[Cause, ...], *, several: bool) -> str:
    together = " of all this together" if several else ""
    rows = [f"causes{together}, the most likely first"]
    for number, cause in enumerate(causes[:_CAUSES_SHOWN], start=1):
        rows.append(
            f"{number:>2}     {cause.code}: {cause.cause}\n"
            f"       tell   {cause.tell_apart}\n"
            f"       mend   {cause.advice}\n"
            f"       fix    {cause.fix}"
        )
    rest = [cause.code for cause in causes[_CAUSES_SHOWN:]]
    if rest:
        more = ", …" if len(rest) > _REST_SHOWN else ""
        rows.append(f"       less likely: {', '.join(rest[:_REST_SHOWN])}{more}")
    return "\n".join(rows)


def _card(cause: Cause) -> str:
    """Everything that the catalogue has of one cause."""
    shows = [
        ("mbedTLS", cause.mbedtls),
        ("axTLS", cause.axtls),
        ("Keyfob", ", ".join(cause.keyfob)),
        ("broker", cause.broker),
        ("alert", ", ".join(str(number) for number in cause.alert)),
    ]
    rows = [
        ("cause", f"{cause.code}: {cause.cause}"),
        ("shows", "\n       ".join(f"{where:<8}{what}" for where, what in shows if what)),
        ("like", ", ".join(cause.confused_with)),
        ("tell", cause.tell_apart),
        ("mend", cause.advice),
        ("fix", cause.fix),
    ]
    return "\n".join(f"{label:<7}{text}" for label, text in rows if text)


def _next(explanation: Explanation, ambiguous: bool) -> str:
    """The one thing to do now."""
    own = [reading.fix for one in explanation.findings for reading in one.readings if reading.fix]
    if own and not explanation.causes:
        return own[0]
    if ambiguous or not explanation.causes:
        return f"give the lines around it too: {_NEXT}"
    first = explanation.causes[0]
    if len(explanation.causes) > 1 and len(explanation.findings) == 1 and "log" not in first.fix:
        return f"{first.fix}\n       or let the broker's log decide: {_NEXT}"
    return first.fix
