import _boot

_boot.run(globals())
