"""`pypm cache`: look after the cache and the store."""

from __future__ import annotations

import click

from pypm.cli.app import Group, Invocation
from pypm.cli.options import Count, flag, json_flag
from pypm.cli.sizes import human_size


@click.group(cls=Group)
def command() -> None:
    """Look after the cache and the store."""


@command.command("dir")
@click.pass_obj
def show_dir(invocation: Invocation) -> None:
    """Print where the cache lies."""
    with invocation.context() as context:
        invocation.console.data(str(context.cache.root))


@command.command()
@json_flag
@click.pass_obj
def size(invocation: Invocation, as_json: bool) -> None:
    """Print how much disk the cache takes, bucket by bucket."""
    from pypm.workflow.cache import measure

    with invocation.context() as context:
        sizes = measure(context)
    if as_json:
        invocation.console.data_json({"buckets": sizes, "total_bytes": sum(sizes.values())})
        return
    for bucket, size_bytes in sizes.items():
        invocation.console.data(f"{human_size(size_bytes):>10}  {bucket}")
    invocation.console.data(f"{human_size(sum(sizes.values())):>10}  in all")


@command.command()
@flag("--dry-run", is_flag=True, help="Remove nothing; print what would go.")
@flag(
    "--days",
    type=Count(),
    default=30,
    show_default=True,
    metavar="N",
    help="Keep what was used within this many days.",
)
@click.pass_obj
def prune(invocation: Invocation, dry_run: bool, days: int) -> None:
    """Remove what no project has used lately, and the rests of killed processes."""
    from pypm.workflow.cache import prune as remove_unused

    with invocation.context() as context:
        freed_bytes = remove_unused(context, unused_days=days, dry_run=dry_run)
    invocation.console.step("Would free" if dry_run else "Freed", human_size(freed_bytes))


@command.command()
@click.pass_obj
def clean(invocation: Invocation) -> None:
    """Remove the whole cache; the next sync downloads everything again."""
    from pypm.workflow.cache import clean as remove_all

    with invocation.context() as context:
        freed_bytes = remove_all(context)
    invocation.console.step("Freed", human_size(freed_bytes))
