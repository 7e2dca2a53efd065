"""The training objectives, one per module: the loss that a step minimises, its gradients, and the exported dictionary."""

from __future__ import annotations

from sae.training.objectives.base import Objective, Step
from sae.training.objectives.batchtopk import BatchTopK
from sae.training.objectives.jumprelu import JumpReLU
from sae.training.objectives.matryoshka import Matryoshka
from sae.training.objectives.standard import Standard
from sae.training.objectives.topk import TopK

__all__ = ["BatchTopK", "JumpReLU", "Matryoshka", "Objective", "Standard", "Step", "TopK"]
