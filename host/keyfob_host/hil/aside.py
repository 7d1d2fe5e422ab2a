"""A board's own identity and settings, put aside for the run and brought back behind it.

They are renamed on the board and never leave it: a key that was made there stays there. A
run that is killed leaves them aside; the next one takes nothing in their place and brings
them back when it ends. A board that had none keeps the suite's.
"""

from __future__ import annotations

from typing import Final

from keyfob_host.transport import Transport

# Identity, stored messages, the latest time seen, settings: all that a program of ours keeps.
_OWN: Final = ("id", "outbox", "clock", "keyfob.json")
_SUFFIX: Final = ".aside"
_MARK: Final = f"keyfob.json{_SUFFIX}"
_REMOVE: Final = """\
import os
def r(f):
 try:
  for n in os.listdir(f):r(f+'/'+n)
  os.rmdir(f)
 except OSError:os.remove(f)
"""
_PUT: Final = f"""\
{_REMOVE}\
def p():
 d=os.listdir('/')
 if {_MARK!r} in d or 'keyfob.json' not in d:return {_MARK!r} in d
 for n in {_OWN!r}:
  a=n+{_SUFFIX!r}
  if n in d:
   if a in d:r('/'+a)
   os.rename('/'+n,'/'+a)
 return True
print(p())
"""
_BRING: Final = f"""\
{_REMOVE}\
def b():
 d=os.listdir('/')
 if {_MARK!r} not in d:return
 for n in {_OWN!r}:
  if n in d:r('/'+n)
 for n in {_OWN!r}:
  if n+{_SUFFIX!r} in d:os.rename('/'+n+{_SUFFIX!r},'/'+n)
b()
"""


def put_aside(board: Transport) -> bool:
    """Put the board's own away, unless a killed run did; whether there is something to bring back.

    The settings go last and come back last: they are the mark that the rest is aside whole.
    """
    return board.exec(_PUT, doing="putting the board's own identity aside").strip() == b"True"


def bring_back(board: Transport) -> None:
    """Give the board its own again in place of the suite's; harmless where nothing is aside."""
    board.exec(_BRING, doing="bringing the board's own identity back")
