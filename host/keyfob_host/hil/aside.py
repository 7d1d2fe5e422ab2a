"""A board's own identity and settings, put aside for the run and brought back behind it.

They are renamed on the board and never leave it: a key that was made there stays there.
Whatever ends a run in the middle, a power cut between two of these steps too, the next one
finds what is aside and brings it back; but not over what the board was given meanwhile. A
board that had none keeps the suite's.
"""

from __future__ import annotations

from typing import Final

from keyfob_host.transport import Transport

# Identity, stored messages, the latest time seen, settings: all that a program of ours keeps.
# Settings are the mark: they go aside last, and come back last.
_OWN: Final = ("id", "outbox", "clock", "keyfob.json")
_SUFFIX: Final = ".aside"
_COMMON: Final = f"""\
import os
O,X,S={_OWN!r},{_SUFFIX!r},'keyfob.json'
def r(f):
 try:
  for n in os.listdir(f):r(f+'/'+n)
  os.rmdir(f)
 except OSError:os.remove(f)
"""
# m: all of it is aside. Settings beside that are the suite's, of a run that was killed, or a
# person's, who gave the board others since, and what is aside is old. Without settings it was
# being brought back, and what had come back goes aside again.
_PUT: Final = f"""\
{_COMMON}\
def p():
 d=os.listdir('/')
 m=S+X in d
 if m and S in d:
  import json
  with open('/'+S) as f:
   if json.load(f).get('device_id')==%r:return True
  for n in O:
   if n+X in d:r('/'+n+X)
  d=os.listdir('/')
 if not m and S not in d:return False
 for n in O:
  if n in d and not(m and n+X in d):
   if n+X in d:r('/'+n+X)
   os.rename('/'+n,'/'+n+X)
 return True
print(p())
"""
# While the suite's settings are there it is as if the run had been killed.
_BRING: Final = f"""\
{_COMMON}\
def b():
 d=os.listdir('/')
 if S+X not in d:return
 for n in O:
  if n in d:r('/'+n)
 for n in O:
  if n+X in d:os.rename('/'+n+X,'/'+n)
b()
"""


def put_aside(board: Transport, suite: str) -> bool:
    """Put the board's own away; whether there is something to bring back.

    ``suite``: the device's id in the settings that a suite gives it.
    """
    return board.exec(_PUT % suite, doing="putting the board's own identity aside").strip() == (
        b"True"
    )


def bring_back(board: Transport) -> None:
    """Give the board its own again in place of the suite's; harmless where nothing is aside."""
    board.exec(_BRING, doing="bringing the board's own identity back")
