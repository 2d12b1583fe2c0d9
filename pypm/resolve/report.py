"""From a derivation to sentences: why there is no solution, and what to change.

Source: N. Weizenbaum, "PubGrub: Next-Generation Version Solving", 2018, section "Error reporting".
"""

from __future__ import annotations

from msgspec import Struct, field

from pypm.resolve.diagram import TRUE
from pypm.resolve.hints import hint_for, left_out_text, on_index
from pypm.resolve.incompatibility import FromConflict, FromDependency, FromUnusable, Incompatibility
from pypm.resolve.marker_text import marker_text
from pypm.resolve.packages import ROOT
from pypm.resolve.universal import RegionUnsolvableError, UniversalSolver
from pypm.resolve.versions import ABSENT

LONGEST_DERIVATION = 40
"""Lines. A longer proof helps nobody; its end is what names the user's own requirements."""


def explain(
    solver: UniversalSolver, failure: RegionUnsolvableError
) -> tuple[str, tuple[str, ...], str | None]:
    """Return the message, the derivation line by line, and the one thing to try."""
    where = marker_text(solver.markers, failure.region, solver.universe)
    place = f" where `{where}`" if where else ""
    message = f"no versions satisfy the requirements of `{solver.inputs.project}`{place}"
    lines = Reporter(solver).lines(failure.root)
    if len(lines) > LONGEST_DERIVATION:
        left_out = len(lines) - LONGEST_DERIVATION
        lines = [f"({left_out} steps are left out.)", *lines[-LONGEST_DERIVATION:]]
    return message, tuple(lines), hint_for(solver, failure)


class Step(Struct):
    """A conclusion with its premises, after runs of like premises are gathered."""

    conclusion: Incompatibility
    facts: list[Incompatibility] = field(default_factory=list)
    """Premises that need no proof."""
    steps: list[Step] = field(default_factory=list)
    """Premises that are conclusions themselves."""


class Reporter:
    """Writes one derivation."""

    def __init__(self, solver: UniversalSolver) -> None:
        self._solver = solver
        self._subject = solver.inputs.subject
        self._packages = solver.packages.all
        self._lines: list[str] = []
        self._last = ""
        self._uses: dict[int, int] = {}
        self._numbers: dict[int, int] = {}
        self._steps: dict[int, Step] = {}

    def lines(self, root: Incompatibility) -> list[str]:
        """Return the derivation of `root`, premises first."""
        if not isinstance(root.cause, FromConflict):
            return [f"{_capital(self._fact(root))}."]
        self._count(root)
        self._visit(self._step(root))
        return self._lines

    def _count(self, root: Incompatibility) -> None:
        stack = [root]
        while stack:
            current = stack.pop()
            self._uses[id(current)] = self._uses.get(id(current), 0) + 1
            if self._uses[id(current)] == 1 and isinstance(current.cause, FromConflict):
                stack += [current.cause.left, current.cause.right]

    def _step(self, conclusion: Incompatibility) -> Step:
        """Gather the premises of a conclusion: one that only sets facts aside is no step of its own."""
        found = self._steps.get(id(conclusion))
        if found is not None:
            return found
        step = self._steps[id(conclusion)] = Step(conclusion)
        queue = [conclusion]
        while queue:
            current = queue.pop()
            assert isinstance(current.cause, FromConflict)
            parents = (current.cause.left, current.cause.right)
            sets_aside = any(isinstance(parent.cause, FromUnusable) for parent in parents)
            for parent in parents:
                if not isinstance(parent.cause, FromConflict):
                    step.facts.append(parent)
                elif sets_aside and self._uses[id(parent)] == 1:
                    queue.append(parent)
                else:
                    step.steps.append(Step(parent))
        return step

    def _visit(self, step: Step) -> None:
        """Write what is needed for a conclusion, then the conclusion."""
        pending = [self._step(premise.conclusion) for premise in step.steps]
        fresh = [premise for premise in pending if id(premise.conclusion) not in self._numbers]
        facts = list(step.facts)
        if len(fresh) == 1 and not any(p for p in pending if p is not fresh[0]):
            only = fresh[0]
            if len(only.steps) == 1 and only.facts and len(only.facts) + len(facts) <= 3:
                inner = self._step(only.steps[0].conclusion)
                if self._uses[id(only.conclusion)] == 1 and id(inner.conclusion) not in self._numbers:
                    self._visit(inner)
                    self._conclude(step, [*only.facts, *facts], [], continues=True)
                    return
            self._visit(only)
            self._conclude(step, facts, [], continues=True)
            return
        for premise in fresh[:-1]:
            self._visit(premise)
            self._number(premise.conclusion)
        if fresh:
            self._visit(fresh[-1])
        numbered = [premise for premise in pending if premise not in fresh[-1:]]
        self._conclude(step, facts, numbered, continues=bool(fresh))

    def _conclude(
        self, step: Step, facts: list[Incompatibility], numbered: list[Step], *, continues: bool
    ) -> None:
        premises = self._facts(facts)
        premises += [
            f"{self._said(premise.conclusion)} ({self._numbers[id(premise.conclusion)]})"
            for premise in numbered
        ]
        if continues and self._last == self._said(step.conclusion):
            return  # The same words again: the step only changed what they stand for.
        self._last = self._said(step.conclusion)
        start = "and because" if continues else "because"
        said = (
            f"{start} {_listed(premises)}, {self._said(step.conclusion)}"
            if premises
            else (f"so {self._said(step.conclusion)}")
        )
        self._lines.append(f"{_capital(said)}.")
        if self._uses.get(id(step.conclusion), 0) > 1:
            self._number(step.conclusion)

    def _number(self, conclusion: Incompatibility) -> None:
        if id(conclusion) not in self._numbers:
            self._numbers[id(conclusion)] = len(self._numbers) + 1
            self._lines[-1] += f" ({self._numbers[id(conclusion)]})"

    def _facts(self, facts: list[Incompatibility]) -> list[str]:
        """Say facts, those that refuse versions of one package for one reason in one breath."""
        refused: dict[tuple[int, str], int] = {}
        required: dict[str, list[str]] = {}
        for fact in facts:
            if isinstance(fact.cause, FromUnusable):
                key = (fact.cause.package, fact.cause.refusal.reason)
                refused[key] = refused.get(key, 0) | fact.terms[0][1]
            else:
                subject, said = self._dependency(fact)
                required.setdefault(subject, []).append(said)
        sentences = [f"{subject} {_listed(_shortened(said))}" for subject, said in required.items()]
        for (number, reason), mask in sorted(refused.items()):
            many = mask & (mask - 1) != 0
            sentences.append(f"{self._versions(number, mask)} {_plural(reason) if many else reason}")
        return sentences

    def _versions(self, number: int, mask: int) -> str:
        versions = self._packages[number].versions
        name = self._packages[number].name
        if mask & versions.all != versions.all:
            return versions.text(name, mask)
        return f"{name}=={versions.versions[0]}" if len(versions.versions) == 1 else f"all versions of {name}"

    def _fact(self, fact: Incompatibility) -> str:
        return self._facts([fact])[0]

    def _dependency(self, fact: Incompatibility) -> tuple[str, str]:
        """Return who requires something, and the rest of the sentence."""
        cause = fact.cause
        assert isinstance(cause, FromDependency)
        target = self._packages[cause.target]
        if target.kind in ("extra", "group"):
            return self._subject, f"has the {target.kind} `{target.extra}`"
        verb = "only admits" if cause.dependency.is_constraint else "depends on"
        said = f"{verb} {cause.dependency.text}{self._where(cause.dependency.guard)}"
        place = self._place(cause)
        trouble = None
        if target.kind == "package" and target.absence is not None:
            trouble = target.absence.reason
        elif target.kind == "package" and not target.versions.mask(cause.dependency.specifier):
            trouble = self._nothing(cause)
        if trouble is not None:
            said += f" ({place}; {trouble})" if place else f" (and {trouble})"
        elif place:
            said += f" ({place})"
        return self._parent(cause), said

    def _place(self, cause: FromDependency) -> str | None:
        """Return where the user wrote a requirement or constraint."""
        dependency = cause.dependency
        is_own = self._packages[cause.parent].kind in ("project", "extra", "group")
        if not is_own and not dependency.is_constraint:
            return None
        return self._solver.inputs.place(dependency.name, dependency.extras, dependency.specifier)

    def _nothing(self, cause: FromDependency) -> str:
        """Say that no version matches, and what there is."""
        target = self._packages[cause.target]
        versions = target.versions.versions
        excluded = target.offer.excluded if target.offer is not None else {}
        left_out = [
            version for version in sorted(excluded) if cause.dependency.specifier.contains(version, True)
        ]
        if left_out:
            version = max(left_out, key=lambda v: (not v.is_prerelease, v))
            return f"{target.name}=={version} {left_out_text(excluded[version])}"
        if not versions:
            return f"there is no version of {target.name}"
        if len(versions) == 1:
            return f"there is only {target.name}=={versions[0]}"
        return f"no version of {target.name}{on_index(target)} matches, the newest is {versions[-1]}"

    def _parent(self, cause: FromDependency) -> str:
        parent = self._packages[cause.parent]
        if parent.kind == "project":
            return self._subject
        if parent.kind in ("extra", "group"):
            return f"the {parent.kind} `{parent.extra}` of {self._subject}"
        if parent.kind == "package-extra":
            base = self._packages[parent.base].versions
            return base.text(f"{parent.name}[{parent.extra}]", cause.versions)
        return parent.versions.text(parent.name, cause.versions)

    def _where(self, guard: int) -> str:
        if guard == TRUE:
            return ""
        text = marker_text(self._solver.markers, guard, self._solver.universe)
        return f" where `{text}`" if text else ""

    def _said(self, conclusion: Incompatibility) -> str:
        """Say a derived incompatibility by its terms."""
        terms = [(self._packages[number], mask) for number, mask in conclusion.terms if number != ROOT]
        if not terms:
            return f"the requirements of {self._subject} are unsatisfiable"
        # `a[extra]` says that `a` is there; to name both says nothing more.
        extended = {package.base for package, mask in terms if package.base >= 0 and not mask & ABSENT}
        had: list[str] = []
        wanted: list[str] = []
        for package, mask in terms:
            if package.kind == "package-extra":
                (wanted if mask & ABSENT else had).append(f"{package.name}[{package.extra}]")
            elif package.kind in ("extra", "group"):
                (wanted if mask & ABSENT else had).append(f"the {package.kind} `{package.extra}`")
            elif mask & ABSENT:
                wanted.append(package.versions.text(package.name, package.versions.full & ~mask))
            elif package.number not in extended or mask != package.versions.all:
                had.append(package.versions.text(package.name, mask))
        if not wanted:
            if len(had) == 1:
                return f"{had[0]} cannot be used"
            return f"{_listed(had)} are incompatible"
        needed = _listed(wanted)
        if not had:
            return f"{self._subject} needs {needed}"
        verb = "depends" if len(had) == 1 else "together depend"
        return f"{_listed(had)} {verb} on {needed}"


def _shortened(parts: list[str]) -> list[str]:
    """Say a verb once: "depends on a", "b"."""
    unique = list(dict.fromkeys(parts))
    verb = "depends on "
    rest = [part.removeprefix(verb) if unique[0].startswith(verb) else part for part in unique[1:]]
    return [*unique[:1], *rest]


def _plural(reason: str) -> str:
    for singular, plural in (
        ("was ", "were "),
        ("has ", "have "),
        ("requires ", "require "),
        ("needs ", "need "),
        ("is a ", "are "),
    ):
        if reason.startswith(singular):
            rest = reason.removeprefix(singular)
            return plural + (f"{rest}s" if singular == "is a " else rest)
    return reason


def _listed(parts: list[str]) -> str:
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def _capital(text: str) -> str:
    """Begin a sentence, but never change the case of a package's name."""
    word = text.split(" ", 1)[0]
    return text[:1].upper() + text[1:] if word in ("because", "and", "so", "your", "the", "no") else text
