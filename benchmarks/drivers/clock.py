"""What a step took, on a processor or a GPU; with torch alone, as every library's environment has it."""

from __future__ import annotations

import time

import torch


class Clock:
    """Seconds of the processor, or on a GPU what it took from one event to another."""

    def __init__(self, device: str) -> None:
        self.gpu, self.began = device != "cpu", 0.0
        if self.gpu:
            self.start, self.end = (torch.cuda.Event(enable_timing=True) for _ in range(2))

    def begin(self) -> None:
        if self.gpu:
            self.start.record()
        self.began = time.process_time()

    def seconds(self) -> float:
        if not self.gpu:
            return time.process_time() - self.began
        self.end.record()
        self.end.synchronize()
        return self.start.elapsed_time(self.end) / 1000
