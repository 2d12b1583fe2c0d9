"""What can go wrong before a payload runs; nothing here is ever raised for what the payload itself does.

The tree stands alone: whoever uses the sandbox translates it into errors of their own. Plain classes on
purpose, because the fast path (`replay`) imports this module.
"""

from __future__ import annotations


class SandboxError(Exception):
    """Base of everything that this package raises.

    `message` is one sentence without a final stop; `hint` is the one thing to do next, if there is one;
    `details` are further lines, for instance every problem of a policy.
    """

    reference = "sandbox"

    def __init__(self, message: str, *, hint: str | None = None, details: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details


class PolicyError(SandboxError):
    """The policy is malformed or dangerous; `details` name every problem by the path of its field."""

    reference = "sandbox-policy"


class UnsupportedError(SandboxError):
    """This host cannot give what the policy requires; the message names the cause, the hint the mend."""

    reference = "sandbox-unsupported"


class SetupError(SandboxError):
    """Setting the sandbox up failed, so nothing foreign was run.

    `stage` names the operation that failed, `errno` is what the kernel said (0 where it said nothing).
    """

    reference = "sandbox-setup"

    def __init__(self, message: str, *, stage: str, errno: int = 0, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.stage = stage
        self.errno = errno
