"""Finds the verb, hands it the rest of the command line, and turns expected errors into one line and an exit code.

Exit codes: 0 done; 1 the run, a file or a machine does not allow it; 2 the command line is wrong; 130 interrupted.
"""

import importlib
import os
import sys
from collections.abc import Sequence

import jaxzoo
from jaxzoo.cli.errors import UsageError
from jaxzoo.experiment.declare import ContractError
from jaxzoo.experiment.files import StorageError
from jaxzoo.experiment.settings import did_you_mean

VERBS = {
    "list": ("listing", "the papers, by field, word or verdict"),
    "show": ("show", "one paper: its claims, its settings, its last record"),
    "run": ("run", "run one paper's experiment and judge its claims"),
    "compare": ("compare", "two runs side by side"),
    "report": ("report", "one HTML page: all papers, verdicts, figures, times"),
    "doctor": ("doctor", "what this machine has: versions, devices, memory, data, compilation cache"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
      arguments: the words after `jaxzoo`; by default those of this process.

    Returns:
      The exit code.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that lacks a character must not end a run
    verb = words[0] if words else "--help"
    if verb in ("-h", "--help"):
        print(overview())
        return 0
    if verb == "--version":
        print(f"jaxzoo {jaxzoo.__version__}")
        return 0
    if verb not in VERBS:
        near = did_you_mean(verb, VERBS)
        print(f"jaxzoo: no verb {verb!r}{near}; the verbs are {', '.join(VERBS)}", file=sys.stderr)
        return 2
    try:
        return importlib.import_module(f"jaxzoo.cli.{VERBS[verb][0]}").main(words[1:])
    except (UsageError, ContractError, StorageError) as error:
        print(f"jaxzoo {verb}: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except SystemExit as stop:
        return stop.code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of a pipe has gone, as `head` does; the interpreter must not try to flush to it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def overview() -> str:
    """The help of `jaxzoo` itself."""
    verbs = "\n".join(f"  {verb:<10}{about}" for verb, (_, about) in VERBS.items())
    return (
        "usage: jaxzoo VERB ...\n\n"
        "Papers as pure functions in JAX: run a paper's experiment, see each of its claims next to what came out.\n\n"
        f"{verbs}\n\n"
        "jaxzoo VERB --help explains a verb; jaxzoo run SLUG --help lists every setting of a paper."
    )
