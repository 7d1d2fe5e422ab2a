"""``python -m keyfob_host`` is the ``keyfob`` command."""

from keyfob_host.cli import main

if __name__ == "__main__":
    main()
