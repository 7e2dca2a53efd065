"""The interface of a study."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from autointerp.studies.finding import Finding
    from autointerp.studies.workbench import Workbench


class Study(Protocol):
    """A study's settings, as a frozen dataclass of JSON values, and how it is carried out.

    `name` is that of the command. `version` is increased with every change that can alter a finding. `reads_text` says whether the
    corpus decides the finding.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]
    name: ClassVar[str]
    version: ClassVar[int]
    reads_text: ClassVar[bool]

    def carry_out(self, bench: Workbench) -> Finding:
        """The finding. Raises `UsageError` and `SaeError`; finished parts are kept in `bench.folder`."""
        ...
