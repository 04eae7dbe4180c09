"""In which precisions a device is fast."""

from __future__ import annotations

import torch


def has_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 is fast on a device: without units for it, a processor is slower with it than with float32."""
    if device.type == "cpu":  # the question has no public name in torch, so it may have none at all
        return bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)())
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
