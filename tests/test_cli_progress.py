"""The live lines: they never wrap, and the numbers outlive the name where there is little room."""

from __future__ import annotations

import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.progress import Progress

from pypm.cli.progress import _TaskLine


@pytest.mark.parametrize("width", [20, 40, 80, 200])
@pytest.mark.parametrize("name", ["a.whl", "a_very_long_package_name_" * 8, "見" * 90])
def test_a_line_fits_beside_the_echo_of_control_c(width: int, name: str) -> None:
    console = Console(width=width, force_terminal=True)
    progress = Progress(console=console, auto_refresh=False)
    task_id = progress.add_task(f"Downloading {name}", total=6 << 20, unit="bytes", said="resumed at 1.0 MiB")
    progress.update(task_id, completed=3 << 20)
    line = _TaskLine(console).render(progress.tasks[0])
    assert cell_len(line.plain) <= width - 6
    assert "\n" not in line.plain
    if width >= 40:
        assert "3.0 MiB/6.0 MiB" in line.plain
    if width == 200:
        assert "━" in line.plain
        assert "resumed at 1.0 MiB" in line.plain


def test_lines_without_bytes_tell_the_time_and_the_latest_news() -> None:
    console = Console(width=60, force_terminal=True)
    progress = Progress(console=console, auto_refresh=False)
    progress.add_task("Building torch", total=None, unit="lines", said="compiling kernel.c")
    assert _TaskLine(console).render(progress.tasks[0]).plain == "Building torch 0:00 compiling kernel.c"
