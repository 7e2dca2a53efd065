"""Every error a user can meet, as one tree.

    AutointerpError          exit 1
    ├── UsageError           exit 2   the spec, an argument or an input is wrong
    ├── BudgetExceeded       exit 4   the run stopped before spending more; resumable
    └── ProviderStopped      exit 5   the provider will not go on; resumable

Each message is one line: what is wrong, which value, what to do. All of them survive pickling, so they may cross
process boundaries. What went wrong inside one call to a judge has its own tree in `autointerp.judges.base`; errors about
models, dictionaries and corpora are `sae.errors.SaeError` and count as `UsageError`.
"""

from __future__ import annotations

from sae.errors import SaeError


class AutointerpError(Exception):
    """Base of all errors that end a command."""

    exit_code = 1


class UsageError(AutointerpError):
    """The spec, an argument or an input is wrong."""

    exit_code = 2


class LedgerFailed(AutointerpError):
    """The ledger's database cannot be reached or written."""


class Collided(LedgerFailed):
    """The database undid a transaction that another was in the way of; done again, it may go through."""


class BudgetExceeded(AutointerpError):
    """The next call could exceed `budget.usd`."""

    exit_code = 4


class ProviderStopped(AutointerpError):
    """A provider refuses to go on: authentication, billing, a spend limit, a retired model, or a long wait."""

    exit_code = 5


WITHHELD_EXIT_CODE = 3
"""The run ended, but its headline is withheld."""

EXPECTED = (AutointerpError, SaeError)
"""Errors whose message is meant for users; every other one is a bug."""


INTERRUPTED_EXIT_CODE = 130
"""The command ended by Ctrl-C."""


def exit_code_of(error: BaseException) -> int:
    """The exit code of a command that this error ends. An error about a model, dictionary or corpus counts as a wrong argument."""
    if isinstance(error, AutointerpError):
        return error.exit_code
    if isinstance(error, SaeError):
        return UsageError.exit_code
    return INTERRUPTED_EXIT_CODE if isinstance(error, KeyboardInterrupt) else 1
