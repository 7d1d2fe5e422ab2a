"""The one device exception.

Cause, fix and source of every code stand in ``errors.txt``; a code is
``place.what``. The detail is the evidence: what was seen, against what was expected.
"""


class KeyfobError(Exception):
    """A failure with a stable ``code`` (slug) and its ``detail`` (evidence)."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail

    def __str__(self) -> str:
        return self.code + ": " + self.detail if self.detail else self.code
