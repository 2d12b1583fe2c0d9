"""`python -m integration.scenarios FOLDER [--peer uv] [--json]`: put a folder of scenarios to pypm."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from integration.scenarios.answers import Verdict, check, compare
from integration.scenarios.model import Scenario, load_folder, read_toml
from integration.scenarios.ours import ask_ourselves
from integration.scenarios.peer import ask_uv
from integration.scenarios.serve import serving

BETTER = Path(__file__).with_name("better.toml")


def main() -> int:
    """Print a row for each scenario and a count at the end; exit 1 when one failed."""
    parser = argparse.ArgumentParser(prog="integration.scenarios", description=__doc__)
    parser.add_argument("folder", type=Path, help="scenario files lie anywhere below it")
    parser.add_argument("--peer", choices=["uv"], help="compare pins and markers with its answer")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")
    parser.add_argument("--only", default="", help="scenarios whose name contains this")
    parser.add_argument("--explain", action="store_true", help="print explanations and pins")
    options = parser.parse_args()
    scenarios = [found for found in load_folder(options.folder) if options.only in found.name]
    if not scenarios:
        parser.error(f"there is no scenario below `{options.folder}`")
    better = read_toml(BETTER)
    failed = 0
    for scenario in scenarios:
        verdict = judge(scenario, peer=options.peer, better=better)
        failed += not verdict.passed
        _print(verdict, as_json=options.json, explain=options.explain)
    total = {"passed": len(scenarios) - failed, "failed": failed}
    print(json.dumps(total) if options.json else f"{total['passed']} passed, {failed} failed")
    return 1 if failed else 0


def judge(scenario: Scenario, *, peer: str | None, better: Mapping[str, Any]) -> Verdict:
    """Put one scenario to pypm and, when asked, to the peer."""
    with serving(scenario.packages) as index:
        answer = ask_ourselves(scenario, index)
        verdict = Verdict(scenario, answer, check(scenario, answer))
        if peer:
            verdict.peer = ask_uv(scenario, index)
            verdict.differences = compare(scenario, answer, verdict.peer)
    if scenario.name in better and (verdict.problems or verdict.differences) and not answer.trouble:
        verdict.better = better[scenario.name]["reason"]
    return verdict


def _print(verdict: Verdict, *, as_json: bool, explain: bool) -> None:
    scenario, answer = verdict.scenario, verdict.answer
    if as_json:
        print(json.dumps(_row(verdict)))
        return
    word = "better" if verdict.better else "passed" if verdict.passed else "FAILED"
    said = "unsatisfiable" if answer.pins is None else f"{len(answer.pins)} pins"
    forks = f", {len(answer.forks)} forks" if answer.forks else ""
    print(f"{word:7} {scenario.category:22} {scenario.name:70} {said}{forks} {answer.seconds * 1000:.0f} ms")
    for problem in (*verdict.problems, *verdict.differences):
        print(f"        {problem}")
    if verdict.better:
        print(f"        {verdict.better}")
    if explain:
        for (name, version), marker in (answer.pins or {}).items():
            print(f"        {name}=={version}{f' ; {marker}' if marker else ''}")
        for line in answer.explanation.splitlines():
            print(f"        {line}")
        if scenario.explanation and answer.explanation:
            print(f"        expected: {scenario.explanation}")
        if verdict.peer is not None and verdict.peer.explanation:
            print("        uv: " + verdict.peer.explanation.replace("\n", "\n            "))
    sys.stdout.flush()


def _row(verdict: Verdict) -> dict[str, Any]:
    answer = verdict.answer
    pins = {f"{n}=={v}": str(m) if m else None for (n, v), m in (answer.pins or {}).items()}
    return {
        "category": verdict.scenario.category,
        "name": verdict.scenario.name,
        "passed": verdict.passed,
        "better": verdict.better,
        "satisfiable": answer.satisfiable,
        "pins": pins,
        "forks": list(answer.forks),
        "explanation": answer.explanation,
        "problems": [*verdict.problems, *verdict.differences],
        "milliseconds": round(answer.seconds * 1000, 1),
        "peer_milliseconds": round(verdict.peer.seconds * 1000, 1) if verdict.peer else None,
    }


if __name__ == "__main__":
    sys.exit(main())
