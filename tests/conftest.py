"""What every test stands on: one thread, a fixed seed, no litter, and no test that fails because a machine is slow."""

from __future__ import annotations

import os
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings

os.environ.setdefault("MPLBACKEND", "Agg")
# Before anything imports kernels in Triton: without a GPU its interpreter runs them, on tensors of the processor.
os.environ.setdefault("TRITON_INTERPRET", "0" if torch.cuda.is_available() else "1")
torch.set_num_threads(1)

settings.register_profile("here", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("here"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")


@pytest.fixture(autouse=True)
def _seeded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Seeds every global generator, and runs the test in an empty folder, where what it writes by name does no harm."""
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 (scikit-learn's default)
    random.seed(0)
    monkeypatch.chdir(tmp_path)
