"""Whole sequences: what is read, what is counted, and where gradients go."""

import pytest
import torch
from tiny_subject import S, padded, rows, tiny
from torch import Tensor

from unweave.subject.gpt import GPT
from unweave.subject.sequences import Sequences

SITE = "resid_post.0"
LENGTHS = (9, 6, 2, 1)  # of each row's tokens; the rest is padding


@pytest.fixture
def subject() -> GPT:
    return tiny()


@pytest.fixture
def tokens() -> Tensor:
    return padded(LENGTHS)


def test_what_is_read_and_what_is_counted(subject: GPT, tokens: Tensor) -> None:
    sequences = Sequences(subject, rows(tokens))
    found = [subject.read(row[None, : min(n, S)], [SITE])[SITE][0] for row, n in zip(tokens, LENGTHS, strict=True)]
    torch.testing.assert_close(sequences.read([SITE])[SITE], torch.cat(found))
    followed = [tokens[row, 1:n] for row, n in enumerate(LENGTHS)]
    assert torch.equal(sequences.next, torch.cat(followed))
    alone = [subject.run(row[None, :n])[0, : n - 1] for row, n in zip(tokens[:, :S], LENGTHS, strict=True)]
    alone[0] = subject.run(tokens[:1, :S])[0]  # its last token is predicted, and not read
    torch.testing.assert_close(sequences.log_probs(), torch.cat(alone).log_softmax(-1))


@pytest.mark.parametrize("site", [SITE, "embed", "mlp_act.0+mlp_out.1"])
def test_its_own_activations_put_back_change_nothing(subject: GPT, tokens: Tensor, site: str) -> None:
    sequences = Sequences(subject, rows(tokens))
    assert torch.equal(sequences.log_probs(sequences.read([site])), sequences.log_probs())


def test_gradients_reach_what_is_put_there_and_stop_at_the_subject(subject: GPT, tokens: Tensor) -> None:
    sequences = Sequences(subject, rows(tokens))
    x = sequences.read([SITE])[SITE].requires_grad_()
    sequences.log_probs({SITE: x}).gather(1, sequences.next[:, None]).sum().backward()
    assert x.grad is not None
    last = torch.tensor([8, 14, 16, 17]) - 1  # the row of each sequence's last token that is read
    predicts = torch.ones(len(x), dtype=torch.bool)
    predicts[last[1:]] = False  # all but the first are followed by padding
    assert torch.equal(x.grad.abs().sum(1) > 0, predicts)
    assert all(p.grad is None for p in subject.parameters())


def test_one_token_predicts_nothing(subject: GPT, tokens: Tensor) -> None:
    with pytest.raises(ValueError, match="at least two in a row"):
        Sequences(subject, rows(tokens[:, :1]))
