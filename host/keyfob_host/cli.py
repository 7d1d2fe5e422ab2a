"""The ``keyfob`` command: a table of commands. It does no work itself.

Each command lives in `keyfob_host.commands` and is imported when it is called, so
that ``keyfob --help`` needs none of the libraries behind them. Every failure
leaves through `main`, which shows cause, evidence and fix and sets the exit status.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from pathlib import Path

import click

from keyfob_host import __version__
from keyfob_host.command_table import command_group
from keyfob_host.doctor.foreign_words import with_meaning
from keyfob_host.errors import ExitStatus, KeyfobHostError, from_os_error
from keyfob_host.ui import Ui

# name: (module:attribute, one line of help), in the order of a user's work.
COMMANDS: dict[str, tuple[str, str]] = {
    "ca": ("keyfob_host.commands.ca:ca", "Make and show the certificate authority."),
    "cert": ("keyfob_host.commands.cert:cert", "Issue broker certificates and device identities."),
    "broker": ("keyfob_host.commands.broker:broker", "Run mosquitto with mutual TLS."),
    "ntp": ("keyfob_host.commands.ntp:ntp", "Run the bench's time server."),
    "board": ("keyfob_host.commands.board:board", "Virtual boards: up, list, info, fault, down."),
    "bench": ("keyfob_host.commands.bench:bench", "Boards by name: scan, list, power."),
    "flash": ("keyfob_host.commands.flash:flash", "Write a MicroPython image with esptool."),
    "sync": ("keyfob_host.commands.sync:sync", "Bring the firmware's files to the board."),
    "provision": ("keyfob_host.commands.provision:provision", "Write identity and settings."),
    "element": ("keyfob_host.commands.element:element", "Show or lock a secure element."),
    "rotate": ("keyfob_host.commands.rotate:rotate", "New certificate or anchors over MQTT."),
    "renewer": ("keyfob_host.commands.renewer:renewer", "Answer boards that ask for one."),
    "tap": ("keyfob_host.commands.tap:tap", "See what board and broker say in TLS."),
    "monitor": ("keyfob_host.commands.monitor:monitor", "Show the board's console and events."),
    "doctor": ("keyfob_host.commands.doctor:doctor", "Find what keeps a board from its broker."),
    "hil": ("keyfob_host.commands.hil:hil", "Run hardware-in-the-loop suites."),
    "demo": ("keyfob_host.commands.demo:demo", "The whole job on a virtual board."),
}


@command_group(COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--json", "as_json", is_flag=True, help="Results and errors as JSON.")
@click.option("--debug", is_flag=True, help="Show a traceback with an error.")
@click.version_option(__version__, prog_name="keyfob")
@click.pass_context
def cli(ctx: click.Context, as_json: bool, debug: bool) -> None:
    """Give a MicroPython board an identity, prove it works, keep it connected."""
    ctx.obj = Ui(as_json=as_json, debug=debug)


def main(argv: list[str] | None = None) -> None:
    """Run the command line and exit with its status."""
    _open_standard_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A letter that its encoding lacks is spelled out, as standard error does by itself.
        sys.stdout.reconfigure(errors="backslashreplace")
    arguments = _hoist(sys.argv[1:] if argv is None else argv)
    ui = Ui(as_json="--json" in arguments, debug="--debug" in arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        status = cli.main(args=arguments, prog_name="keyfob", standalone_mode=False)
        sys.exit(status if isinstance(status, int) else 0)
    except click.exceptions.Abort:
        sys.exit(_interrupted(ui))
    except KeyboardInterrupt:
        sys.exit(_interrupted(ui))
    except click.ClickException as error:
        if ui.as_json:
            ui.error(_as_ours(error))
        else:
            error.show()
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.stderr.close()  # the reader went away (`keyfob … | head`); nothing is wrong
        sys.exit(0)
    except KeyfobHostError as error:
        if ui.debug:
            ui.err.print_exception()
        ui.error(with_meaning(error))
        sys.exit(error.status)
    except OSError as error:
        if ui.debug:
            ui.err.print_exception()
        ui.error(from_os_error(error, error.filename or "?", "go on"))
        sys.exit(ExitStatus.HOST)
    except Exception as error:
        if ui.debug:
            ui.err.print_exception()
        ui.error(
            KeyfobHostError(
                "host.internal",
                "this is a defect of keyfob, not of your bench",
                evidence=f"{type(error).__name__}: {error}",
                fix="run the same command with --debug and report what it prints",
                status=ExitStatus.INTERNAL,
            )
        )
        sys.exit(ExitStatus.INTERNAL)


def _open_standard_streams() -> None:
    """The null device for those that were closed (``keyfob … <&-``), which Python has as None."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115 (to the end)


def _as_ours(error: click.ClickException) -> KeyfobHostError:
    """A mistake on the command line, which click tells people in its own form."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    return KeyfobHostError(
        "host.usage",
        f"the command line cannot be used: {error.format_message()}",
        evidence=" ".join(context.get_usage().split()) if context else "",
        fix=f"{context.command_path if context else 'keyfob'} --help",
        status=ExitStatus.USAGE,
    )


def _hoist(arguments: list[str]) -> list[str]:
    """``--json`` and ``--debug`` moved to the front: they are taken anywhere."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    found = [flag for flag in ("--json", "--debug") if flag in arguments[:end]]
    rest = [word for word in arguments[:end] if word not in found]
    return found + rest + arguments[end:]


def _interrupt(_number: int, _frame: object) -> None:
    # SIGTERM leaves by the same door as Ctrl-C, so that whatever cleans up after the
    # one (temporary files, child processes) cleans up after the other.
    raise KeyboardInterrupt


def _interrupted(ui: Ui) -> int:
    ui.err.print("\ninterrupted", markup=False)
    return ExitStatus.INTERRUPTED
