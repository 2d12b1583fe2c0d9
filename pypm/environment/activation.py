"""The activation scripts: for sh, bash and zsh, fish, csh, and PowerShell.

Each puts the environment's programs first on `PATH` and offers `deactivate`. The folder is written into
them, as every tool that reads a virtual environment expects; quoting is that of each shell.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

_SH = """\
# Source this file: `. {bin}/activate`.
deactivate () {{
    if [ -n "${{_PYPM_OLD_PATH:-}}" ]; then
        PATH="$_PYPM_OLD_PATH"
        export PATH
        unset _PYPM_OLD_PATH
    fi
    if [ -n "${{_PYPM_OLD_PYTHONHOME:-}}" ]; then
        PYTHONHOME="$_PYPM_OLD_PYTHONHOME"
        export PYTHONHOME
        unset _PYPM_OLD_PYTHONHOME
    fi
    if [ -n "${{_PYPM_OLD_PS1+set}}" ]; then
        PS1="$_PYPM_OLD_PS1"
        unset _PYPM_OLD_PS1
    fi
    unset VIRTUAL_ENV VIRTUAL_ENV_PROMPT
    hash -r 2>/dev/null || true
    if [ "${{1:-}}" != "keep" ]; then
        unset -f deactivate
    fi
}}

deactivate keep
VIRTUAL_ENV={location}
VIRTUAL_ENV_PROMPT={prompt}
export VIRTUAL_ENV VIRTUAL_ENV_PROMPT
_PYPM_OLD_PATH="$PATH"
PATH="$VIRTUAL_ENV/{programs}:$PATH"
export PATH
if [ -n "${{PYTHONHOME:-}}" ]; then
    _PYPM_OLD_PYTHONHOME="$PYTHONHOME"
    unset PYTHONHOME
fi
if [ -z "${{VIRTUAL_ENV_DISABLE_PROMPT:-}}" ]; then
    _PYPM_OLD_PS1="${{PS1-}}"
    PS1="($VIRTUAL_ENV_PROMPT) ${{PS1-}}"
fi
hash -r 2>/dev/null || true
"""

_FISH = """\
# Source this file: `source {bin}/activate.fish`.
function deactivate
    if set -q _PYPM_OLD_PATH
        set -gx PATH $_PYPM_OLD_PATH
        set -e _PYPM_OLD_PATH
    end
    if set -q _PYPM_OLD_PYTHONHOME
        set -gx PYTHONHOME $_PYPM_OLD_PYTHONHOME
        set -e _PYPM_OLD_PYTHONHOME
    end
    if functions -q _pypm_old_fish_prompt
        functions -e fish_prompt
        functions -c _pypm_old_fish_prompt fish_prompt
        functions -e _pypm_old_fish_prompt
    end
    set -e VIRTUAL_ENV
    set -e VIRTUAL_ENV_PROMPT
    if test "$argv[1]" != keep
        functions -e deactivate
    end
end

deactivate keep
set -gx VIRTUAL_ENV {location}
set -gx VIRTUAL_ENV_PROMPT {prompt}
set -gx _PYPM_OLD_PATH $PATH
set -gx PATH "$VIRTUAL_ENV/{programs}" $PATH
if set -q PYTHONHOME
    set -gx _PYPM_OLD_PYTHONHOME $PYTHONHOME
    set -e PYTHONHOME
end
if test -z "$VIRTUAL_ENV_DISABLE_PROMPT"; and functions -q fish_prompt
    functions -c fish_prompt _pypm_old_fish_prompt
    function fish_prompt
        printf '(%s) ' $VIRTUAL_ENV_PROMPT
        _pypm_old_fish_prompt
    end
end
"""

_CSH = """\
# Source this file: `source {bin}/activate.csh`.
alias deactivate 'test $?_PYPM_OLD_PATH != 0 && setenv PATH "$_PYPM_OLD_PATH:q" && unset _PYPM_OLD_PATH; \
test $?_PYPM_OLD_PROMPT != 0 && set prompt="$_PYPM_OLD_PROMPT:q" && unset _PYPM_OLD_PROMPT; rehash; \
unsetenv VIRTUAL_ENV; unsetenv VIRTUAL_ENV_PROMPT; test "\\!:*" != "keep" && unalias deactivate'
deactivate keep
setenv VIRTUAL_ENV {location}
setenv VIRTUAL_ENV_PROMPT {prompt}
set _PYPM_OLD_PATH="$PATH:q"
setenv PATH "$VIRTUAL_ENV:q/{programs}:$PATH:q"
if (! $?VIRTUAL_ENV_DISABLE_PROMPT && $?prompt) then
    set _PYPM_OLD_PROMPT="$prompt:q"
    set prompt = "($VIRTUAL_ENV_PROMPT:q) $prompt:q"
endif
rehash
"""

_POWERSHELL = """\
# Dot-source this file: `. {bin}/Activate.ps1`.
function global:deactivate ([switch]$Keep) {{
    if (Test-Path variable:global:_PYPM_OLD_PATH) {{
        $env:PATH = $global:_PYPM_OLD_PATH
        Remove-Variable _PYPM_OLD_PATH -Scope Global
    }}
    if (Test-Path function:global:_pypm_old_prompt) {{
        Set-Content function:global:prompt (Get-Content function:global:_pypm_old_prompt)
        Remove-Item function:global:_pypm_old_prompt
    }}
    Remove-Item env:VIRTUAL_ENV, env:VIRTUAL_ENV_PROMPT -ErrorAction SilentlyContinue
    if (-not $Keep) {{ Remove-Item function:global:deactivate }}
}}

deactivate -Keep
$env:VIRTUAL_ENV = {location}
$env:VIRTUAL_ENV_PROMPT = {prompt}
$global:_PYPM_OLD_PATH = $env:PATH
$env:PATH = (Join-Path $env:VIRTUAL_ENV '{programs}') + [IO.Path]::PathSeparator + $env:PATH
if (-not $env:VIRTUAL_ENV_DISABLE_PROMPT) {{
    Copy-Item function:prompt function:global:_pypm_old_prompt
    function global:prompt {{ "($env:VIRTUAL_ENV_PROMPT) " + (_pypm_old_prompt) }}
}}
"""


_BATCH = """\
@echo off
rem Call this file: `{bin}\\activate.bat`.
if defined _PYPM_OLD_PATH set "PATH=%_PYPM_OLD_PATH%"
if defined _PYPM_OLD_PROMPT set "PROMPT=%_PYPM_OLD_PROMPT%"
set "VIRTUAL_ENV={location}"
set "VIRTUAL_ENV_PROMPT={prompt}"
set "_PYPM_OLD_PATH=%PATH%"
set "PATH=%VIRTUAL_ENV%\\{programs};%PATH%"
set "PYTHONHOME="
if not defined PROMPT set "PROMPT=$P$G"
if not defined VIRTUAL_ENV_DISABLE_PROMPT (
    set "_PYPM_OLD_PROMPT=%PROMPT%"
    set "PROMPT=(%VIRTUAL_ENV_PROMPT%) %PROMPT%"
)
"""

_BATCH_DEACTIVATE = """\
@echo off
if defined _PYPM_OLD_PATH set "PATH=%_PYPM_OLD_PATH%"
if defined _PYPM_OLD_PROMPT set "PROMPT=%_PYPM_OLD_PROMPT%"
set "_PYPM_OLD_PATH="
set "_PYPM_OLD_PROMPT="
set "VIRTUAL_ENV="
set "VIRTUAL_ENV_PROMPT="
"""


def activation_scripts(location: Path, prompt: str, programs: str = "bin") -> dict[str, str]:
    """Return the scripts by file name, for an environment at `location` that shows itself as `prompt`.

    `programs` is its folder of programs; with that of Windows there are scripts for its own shell, too.
    """
    where = (location, _inert(prompt), programs)
    scripts = {
        "activate": _fill(_SH, *where, shlex.quote),
        "activate.fish": _fill(_FISH, *where, _quote_fish),
        "activate.csh": _fill(_CSH, *where, _quote_csh),
        "Activate.ps1": _fill(_POWERSHELL, *where, _quote_powershell),
    }
    if programs == "Scripts":
        # The command interpreter loses its place in files whose lines end otherwise.
        scripts["activate.bat"] = _fill(_BATCH, *where, _quote_batch).replace("\n", "\r\n")
        scripts["deactivate.bat"] = _BATCH_DEACTIVATE.replace("\n", "\r\n")
    return scripts


def _inert(prompt: str) -> str:
    """What a shell shows as it is: prompts are expanded when they are shown, whatever the script quoted.

    Bash takes a backslash and digits for a character, and then executes `$(...)`; others recall history.
    """
    return "".join("?" if each in "$`\\!" or not each.isprintable() else each for each in prompt)


def _fill(template: str, location: Path, prompt: str, programs: str, quote: Callable[[str], str]) -> str:
    # The comment must stay one line, whatever a folder is called and a shell takes for the end of one.
    shown = "".join(each if each.isprintable() else "?" for each in str(location / programs))
    return template.format(bin=shown, location=quote(str(location)), prompt=quote(prompt), programs=programs)


def _quote_batch(text: str) -> str:
    # Within `set "NAME=..."` only the percent sign means something; a quote cannot be in a path.
    return text.replace("%", "%%").replace('"', "'").replace("\n", "?")


def _quote_fish(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _quote_csh(text: str) -> str:
    # `!` recalls history within single quotes too, and a line ends there unless it is told otherwise.
    return shlex.quote(text).replace("!", "\\!").replace("\n", "\\\n")


def _quote_powershell(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
