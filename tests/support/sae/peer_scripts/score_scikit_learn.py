"""scikit-learn's figures of given answers and rankings."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from sklearn import metrics


def figures(truth: list[bool], said: list[bool], values: list[float]) -> dict[str, float]:
    return {
        "balanced_accuracy": metrics.balanced_accuracy_score(truth, said),
        "f1": metrics.f1_score(truth, said),
        "precision": metrics.precision_score(truth, said, zero_division=0),
        "recall": metrics.recall_score(truth, said),
        "accuracy": metrics.accuracy_score(truth, said),
        "iou": metrics.jaccard_score(truth, said),
        "auroc": metrics.roc_auc_score(truth, values),
        "auprc": metrics.average_precision_score(truth, values),
    }


print(json.dumps([figures(*row) for row in json.loads(Path(sys.argv[1]).read_text())]))
