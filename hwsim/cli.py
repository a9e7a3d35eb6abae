"""The command `hwsim`."""

from __future__ import annotations

import sys

import click

from hwsim import toolchain


class _Tools(click.Group):
    """What the toolchain can't find is one sentence, not a traceback."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except toolchain.ToolchainError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Tools, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Tools of the hardware simulator."""


@main.command("toolchain")
def show_toolchain() -> None:
    """Find the MicroPython interpreter that runs the firmware: which, which version, where from."""
    tool = toolchain.find_micropython()
    click.echo(f"MicroPython {tool.version}, {tool.source}")
    click.echo(" ".join(tool.argv))


@main.command("bench-seal")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
def bench_seal(as_json: bool) -> None:
    """Measure what sealing one alarm message costs the firmware, against plain double-and-add."""
    from hwsim import bench_seal

    sys.exit(bench_seal.main(as_json))


if __name__ == "__main__":
    main()
