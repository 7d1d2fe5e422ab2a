"""``keyfob``, and ``python -m keyfob_host``: the command line, from its first moment on."""

from __future__ import annotations

import sys

from keyfob_host.errors import ExitStatus


def main() -> None:
    """Run the command line and exit with its status."""
    try:
        from keyfob_host.cli import main as run
    except KeyboardInterrupt:  # what all commands take is still being loaded
        print("\ninterrupted", file=sys.stderr)
        sys.exit(ExitStatus.INTERRUPTED)
    run()


if __name__ == "__main__":
    main()
