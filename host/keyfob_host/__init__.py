"""Keyfob's host side: certificates, flashing, provisioning, virtual boards, HIL.

The board's own package is ``keyfob`` (in ``firmware/``); this one has another
import name so that both can be imported in one Python, as the tests do.
"""

__version__ = "0.1.0"
