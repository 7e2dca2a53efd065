"""Print a `batch-N.json` as SAEDashboard's own classes read and write it again: python read_sae_dashboard.py FILE

Its module of Neuronpedia's dashboards needs numpy alone. The package around it needs an older transformers, so that it is not imported.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

package = importlib.util.find_spec("sae_dashboard")
assert package is not None
assert package.origin is not None
spec = importlib.util.spec_from_file_location(
    "neuronpedia_dashboard", Path(package.origin).parent / "neuronpedia" / "neuronpedia_dashboard.py"
)
assert spec is not None
assert spec.loader is not None
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
batch = module.NeuronpediaDashboardBatch(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
print(json.dumps(batch.to_dict()))
