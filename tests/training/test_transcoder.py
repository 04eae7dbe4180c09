"""Dictionaries that read one site and write another."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from unweave.activations.corpus import of_games
from unweave.config import RunConfig, override
from unweave.dictionary import METHODS, Dictionary, export
from unweave.evaluation.context import Context
from unweave.evaluation.controls import Controls
from unweave.evaluation.evaluate import evaluate
from unweave.evaluation.faithfulness import Faithfulness
from unweave.othello import games, tokens
from unweave.runs import Run, train
from unweave.subject import disk
from unweave.subject.gpt import GPT, GPTConfig
from unweave.subject.othello import ALPHABET
from unweave.training.loop import Trainer
from unweave.training.properties import fitting

D, OUT, F = 12, 9, 24


def pairs(seed: int, n: int = 256) -> tuple[Tensor, Tensor]:
    """Sparse sums of 16 directions, and the same sums of 16 others, with a linear map of the first added."""
    fixed = torch.Generator().manual_seed(0)
    reads, writes, skip = (torch.randn(*s, generator=fixed) for s in ((16, D), (16, OUT), (D, OUT)))
    g = torch.Generator().manual_seed(seed)
    codes = (torch.rand(n, 16, generator=g) < 0.1) * (1 + torch.rand(n, 16, generator=g))
    x = codes @ reads + 1
    return x, codes @ writes + 0.3 * x @ skip + 2


def trained(method: str, steps: int = 300, **settings) -> Trainer:
    config = RunConfig(method=method, d_sae=F, target="elsewhere", revive="none()")
    trainer = Trainer(override(config, {"training.steps": steps, **settings}), D, OUT)
    trainer.fit_(*pairs(1, 1000))
    for step in range(steps):
        trainer.update(*pairs(step + 2))
    return trainer


def fvu(d: Dictionary) -> float:
    x, y = pairs(10_000, 2000)
    return ((d.eval()(x) - y).square().sum() / (y - y.mean(0)).square().sum()).item()


def test_it_learns_the_other_site_and_a_skip_helps() -> None:
    plain, skipping = (trained("topk(k=4)", 1000, skip=skip).dictionary for skip in (False, True))
    assert fvu(plain) < 0.3
    assert fvu(skipping) < 0.7 * fvu(plain)


@pytest.mark.parametrize("name", [name for name in METHODS if name != "matching_pursuit"])
@pytest.mark.parametrize("skip", [False, True])
def test_every_method_transcodes_and_is_kept_whole(name: str, skip: bool, tmp_path: Path) -> None:
    d = trained(fitting(name, F), 40, skip=skip, normalise="centre").dictionary
    x, _ = pairs(5)
    kept = export.export(d, x)
    export.save(kept, tmp_path / "sae.safetensors")
    again = export.load(tmp_path / "sae.safetensors")
    assert again.transcodes
    assert again.W_dec.shape == (F, OUT)
    torch.testing.assert_close(again(x), d.eval()(x), rtol=1e-4, atol=1e-4)
    for parameter, p in d.named_parameters():
        assert p.isfinite().all(), parameter


def test_resampled_features_read_from_one_site_and_write_to_the_other() -> None:
    t = trained("relu", 0, revive="resample(every=5, after=100)", **{"training.steps": 5})
    with torch.no_grad():
        t.dictionary.coder.b_enc[0] = -100.0  # type: ignore[index]
    for step in range(5):
        t.update(*pairs(step))
    d = t.dictionary
    x, y = pairs(4)
    reads = torch.nn.functional.normalize(d.input(x), dim=1)
    writes = torch.nn.functional.normalize(d.output(y) - d.b_dec, dim=1)  # type: ignore[misc]
    row = (reads @ torch.nn.functional.normalize(d.coder.W_enc[:, 0], dim=0)).argmax()  # type: ignore[index]
    torch.testing.assert_close(d.W_dec[0], writes[row], atol=0.02, rtol=0)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"method": "matching_pursuit(k=3)"}, "cannot transcode"),
        ({"normalise": "each"}, "lengths are not known"),
    ],
)
def test_what_cannot_transcode_is_told(settings: dict[str, str], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Trainer(override(RunConfig(d_sae=F, method="topk(k=4)"), settings), D, OUT)


def test_what_a_transcoder_needs_is_told() -> None:
    with pytest.raises(ValueError, match="would copy it"):
        Dictionary(D, F, "relu", skip=True)
    d = Dictionary(D, F, "relu", d_out=OUT, skip=True)
    with pytest.raises(ValueError, match="give the inputs too"):
        d.decode(d.encode(pairs(0)[0]))
    with pytest.raises(ValueError, match="they are missing"):
        trained("relu", 1).update(pairs(0)[0])


@pytest.fixture
def subject() -> GPT:
    torch.manual_seed(0)
    model = GPT(GPTConfig(n_layers=2, d_model=16, n_heads=2), ALPHABET)
    for weight in model.parameters():
        weight.data.mul_(5)
    return model.requires_grad_(False)


def test_spliced_it_replaces_the_target_by_what_it_makes_of_the_site(subject: GPT) -> None:
    rows = of_games(games.sample("test", 1, 0))
    row = rows.tokens
    source = subject.read(row[:, :-1], ["mlp_in.1"])["mlp_in.1"]

    def tap(site: str, x: Tensor) -> Tensor:
        return torch.tanh(source) if site == "mlp_out.1" else x

    expected = subject(row[:, :-1], tap).log_softmax(-1)
    read = (row[:, :-1] != tokens.PAD).flatten()
    measured = Faithfulness(subject, "mlp_out.1", rows, torch.zeros(16)).spliced(torch.tanh(source).flatten(0, 1)[read])
    there = row[:, 1:] != tokens.PAD
    ce = -expected.gather(2, row[:, 1:, None]).squeeze(2)[there].mean()
    assert measured["ce_spliced/1"] == pytest.approx(ce.item(), rel=1e-4)


def test_a_transcoder_from_training_to_scores(subject: GPT, tmp_path: Path) -> None:
    disk.save(subject, tmp_path / "model")
    settings = {"training.steps": 60, "training.batch": 256, "data.sequences": 32, "training.log_every": 1}
    sites = {"site": "mlp_in.1", "target": "mlp_act.0+mlp_out.1", "skip": True}
    config = RunConfig(subject=str(tmp_path / "model"), method="topk(k=8)", d_sae=32, **sites)
    (run,) = train({tmp_path / "run": override(config, settings)})
    assert run.metrics()[-1]["fvu"] < run.metrics()[0]["fvu"]
    assert "to mlp_act.0+mlp_out.1" in (run.folder / "card.md").read_text()
    assert run.dictionary().d_out == 64 + 16
    found = evaluate(run, n_games=20)
    assert found["target"] == "mlp_act.0+mlp_out.1"
    assert 0 < found["rows"][0]["scores"]["fvu/1"] < 1.5
    with pytest.raises(ValueError, match=r"or to mlp_act\.0\+mlp_out\.1, not to mlp_in\.1"):
        evaluate(run, Controls(Context(config.subject, config.site, n_games=20), Run(run.folder / "control")))
