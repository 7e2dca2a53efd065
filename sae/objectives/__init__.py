"""The training objectives, one a file: what a step minimises, its gradients, and what becomes of the result."""

from __future__ import annotations

from sae.objectives.base import Objective, Step
from sae.objectives.batchtopk import BatchTopK
from sae.objectives.jumprelu import JumpReLU
from sae.objectives.matryoshka import Matryoshka
from sae.objectives.standard import Standard
from sae.objectives.topk import TopK

__all__ = ["BatchTopK", "JumpReLU", "Matryoshka", "Objective", "Standard", "Step", "TopK"]
