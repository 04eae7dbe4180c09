"""Report 003's loss, against the same written out entry by entry."""

import pytest
import torch
from torch import Tensor

from unweave.config import RunConfig, override
from unweave.training.loop import Trainer


def test_its_loss_word_for_word() -> None:
    """Its compute_loss as ground truth has it, entry by entry: the error, the penalty and the ghosts of dead features.

    With mean over batch and D of both squared errors, and the sum of the codes per input.
    """
    settings = {
        "objective": "by_centred_norm()",
        "revive": "ghost_elementwise(after=100)",
        "normalise": "each",
        "b_dec": "none",
    }
    t = Trainer(override(RunConfig(method="relu(l1=1.2e-4)", d_sae=16), settings), 8)
    raw = torch.randn(20, 8, generator=torch.Generator().manual_seed(0)) * 2 + 1
    t.fit_(raw)
    dead = [1, 4, 11]
    t.silent[dead] = 101
    found = {name: part.item() for name, part in t.parts(t.look(raw)).items()}

    d, n, width = t.dictionary, len(raw), raw.shape[1]
    W_enc, b_enc, W_dec = (d.get_parameter(name).detach() for name in ("coder.W_enc", "coder.b_enc", "W_dec"))
    x = torch.stack([row * width**0.5 / row.norm() for row in raw])
    pre = x @ W_enc + b_enc
    x_hat = pre.relu() @ W_dec
    mean, residual = x.mean(0), x - x_hat
    middle, l_rec, l_ghost = residual.mean(0), 0.0, 0.0
    for b in range(n):
        ghost = sum(pre[b, j].exp() * W_dec[j] for j in dead)
        assert isinstance(ghost, Tensor)
        ghost = ghost * residual[b].norm() / (2 * ghost.norm() + 1e-6)
        for i in range(width):
            own = (x_hat[b, i] - x[b, i]).item() ** 2 / (x[b] - mean).norm().item()
            theirs = (ghost[i] - residual[b, i]).item() ** 2 / (residual[b] - middle).norm().item()
            l_rec += own / (n * width)
            l_ghost += theirs * (own / (theirs + 1e-6)) / (n * width)
    assert found["error"] == pytest.approx(l_rec, rel=1e-4)
    assert found["l1"] == pytest.approx(1.2e-4 * pre.relu().sum().item() / n, rel=1e-4)
    assert found["ghost"] == pytest.approx(l_ghost, rel=1e-4)
