"""PSPNet's training loss: no framework has it, and all of their users add it up in the same way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lossproof import Adapter


class PspnetTotalLoss(Adapter):
    """``pspnet_total_loss`` of an adapter that has ``pspnet_loss``."""

    pspnet_loss: Callable[..., Any]

    def pspnet_total_loss(
        self, logits: Any, aux_logits: Any, labels: Any, *, num_classes: int, aux_weight: float
    ) -> Any:
        main = self.pspnet_loss(logits, labels, num_classes=num_classes, reduction="mean")
        auxiliary = self.pspnet_loss(aux_logits, labels, num_classes=num_classes, reduction="mean")
        return main + aux_weight * auxiliary
