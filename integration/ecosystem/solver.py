"""`python -m integration.ecosystem.solver PROJECT OVERRIDES`: print the seconds that solving alone takes.

The question is solved twice with one provider: the first time it fetches what the second time is there.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from pypm.resolve.inputs import Inputs
from pypm.resolve.solve import resolve
from pypm.workflow.answers import open_provider
from pypm.workflow.context import Context
from pypm.workflow.report import SilentReporter
from pypm.workflow.resolving import Building
from pypm.workflow.settings import Overrides, load_settings


def main(folder: str, chosen: str) -> None:
    """Print the seconds; `chosen` are fields of `Overrides` as JSON."""
    overrides = Overrides(project=Path(folder), no_config=True, no_cache=True, **json.loads(chosen))
    with Context(load_settings(overrides), SilentReporter()) as context:
        project = context.project
        inputs = Inputs(
            project=project.name,
            requires_python=project.requires_python,
            dependencies=project.dependencies,
            extras=project.extras,
            groups=project.groups,
            sources=project.sources,
            settings=project.settings,
        )
        with Building(context) as building, open_provider(context, project, building.metadata) as provider:
            resolve(inputs, provider)
            # Of this process alone: what else the machine does is not the solver's.
            started = time.process_time()
            resolve(inputs, provider)
            print(time.process_time() - started)


if __name__ == "__main__":
    main(*sys.argv[1:])
