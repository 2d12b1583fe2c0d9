"""Project and environment to a `sandbox.Policy`: what a run, a build, an unpacking may see and use.

The room decides and describes; `sandbox` enforces. It writes nothing and reads little: links, whether a path
exists, and where a `.git` file points.
"""

from __future__ import annotations

from pypm.isolation.beyond import (
    as_flags,
    beyond_default,
    grant_content,
    is_nothing,
    not_covered,
    read_only,
    withhold,
)
from pypm.isolation.boundary import Boundary
from pypm.isolation.build import (
    BUILD_ENVIRONMENT,
    BUILD_SOURCE,
    BuildLayout,
    build_command,
    build_policy,
    unpack_policy,
)
from pypm.isolation.explain import Explanation, explain
from pypm.isolation.failures import isolation_errors
from pypm.isolation.options import HostPort, RunOptions, grants, merge, raised_limits
from pypm.isolation.run import Caller, policy_facts, run_policy
from pypm.isolation.settings import Settings, parse_flags, parse_settings

__all__ = [
    "BUILD_ENVIRONMENT",
    "BUILD_SOURCE",
    "Boundary",
    "BuildLayout",
    "Caller",
    "Explanation",
    "HostPort",
    "RunOptions",
    "Settings",
    "as_flags",
    "beyond_default",
    "build_command",
    "build_policy",
    "explain",
    "grant_content",
    "grants",
    "is_nothing",
    "isolation_errors",
    "merge",
    "not_covered",
    "parse_flags",
    "parse_settings",
    "policy_facts",
    "raised_limits",
    "read_only",
    "run_policy",
    "unpack_policy",
    "withhold",
]
