"""Fixes: the command that issues a certificate as it should be."""

from __future__ import annotations

import re
import shlex

from keyfob_host.lint.certificate import Certificate
from keyfob_host.lint.finding import Role
from keyfob_host.lint.names import DNS, IP, address_of, general_name_text, is_host_name

# What `keyfob cert` takes as a name (`keyfob_host.pki.names`).
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")


def reissue(cert: Certificate, role: Role | None, host: str | None = None) -> str:
    """``keyfob …``: with the certificate's own names, as far as they can be ones, and ``host``."""
    if role == "ca":
        # Without --force: the file may be anybody's, and the bench's own CA is not to go for it.
        return "keyfob ca init"
    name = cert.subject.common_name
    names = [
        general_name_text(tag, content) for tag, content in cert.extensions.sans or ()
        if (tag == DNS and is_host_name(content.decode("latin-1").removeprefix("*.")))
        or (tag == IP and len(content) in (4, 16))
    ]  # fmt: skip
    if role != "broker":
        return f"keyfob cert device {name if _ID.fullmatch(name) else 'sensor-01'} --force"
    for one in (host, name):
        if one and (address_of(one) is not None or ("." in one and is_host_name(one))):
            names.append(f"{'IP' if address_of(one) is not None else 'DNS'}:{one}")
    name = name if _ID.fullmatch(name) else "broker.example.org"
    options = "".join(f" --san {shlex.quote(one)}" for one in dict.fromkeys(names))
    return f"keyfob cert broker {name}{options} --force"
