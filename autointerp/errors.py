"""All errors that a user can see, as one tree.

    AutointerpError          exit 1
    ├── UsageError           exit 2   the spec, an argument or an input is wrong
    ├── BudgetExceeded       exit 4   the run stopped before spending more; resumable
    └── ProviderStopped      exit 5   the provider refuses further calls; resumable

Each message is one line: what is wrong, which value, what to do. All errors can be pickled, so they may cross process
boundaries. Errors of a single call to a judge have their own tree in `autointerp.judges.base`; errors about models,
dictionaries and corpora are `sae.errors.SaeError` and count as `UsageError`.
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


class LedgerRejected(AutointerpError):
    """The database rejects a value or a statement. The message holds neither."""


class TransactionConflict(LedgerFailed):
    """The database cancelled a transaction because of a concurrent one; the same transaction may succeed when repeated."""


class BudgetExceeded(AutointerpError):
    """The next call could exceed `budget.usd`."""

    exit_code = 4


class ProviderStopped(AutointerpError):
    """A provider refuses further calls: authentication, billing, a spend limit, a retired model, or a long wait."""

    exit_code = 5


WITHHELD_EXIT_CODE = 3
"""Exit code of a run that ended with its headline withheld."""
INTERRUPTED_EXIT_CODE = 130
"""Exit code of a command ended by Ctrl-C."""
EXPECTED = (AutointerpError, SaeError)
"""Errors whose message is meant for users; any other error is a bug."""


def exit_code_of(error: BaseException) -> int:
    """The exit code of a command that ends with this error. A `SaeError` counts as a `UsageError`."""
    if isinstance(error, AutointerpError):
        return error.exit_code
    if isinstance(error, SaeError):
        return UsageError.exit_code
    return INTERRUPTED_EXIT_CODE if isinstance(error, KeyboardInterrupt) else 1
