"""A run's harvest in resumable shards, its controls and side files. The package can be called: `autointerp.harvest(...)` is a function
of the Python API, which has the same name."""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


class _Room(ModuleType):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return import_module("autointerp.api.steps").harvest(*args, **kwargs)


sys.modules[__name__].__class__ = _Room
