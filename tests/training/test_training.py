"""The loop's parts: schedule, optimiser, checkpoint, log, and what is refused."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from unweave.config import RunConfig, from_dict, override, to_dict
from unweave.dictionary.kernels import pairs
from unweave.schedule import SHAPES, rate
from unweave.training import checkpoint, log
from unweave.training.loop import Trainer
from unweave.training.optimisers import OPTIMISERS


def batch(seed: int) -> Tensor:
    return torch.randn(64, 8, generator=torch.Generator().manual_seed(seed)) + 1


def trainer(**settings) -> Trainer:
    config = override(
        RunConfig(method="batch_topk(k=3)", d_sae=16, revive="auxk(after=200)"), {"training.steps": 40} | settings
    )
    t = Trainer(config, 8)
    t.fit_(batch(1000))
    return t


@given(st.integers(1, 500), st.integers(0, 100), st.floats(0, 1), st.sampled_from(SHAPES), st.floats(0, 1))
def test_schedule(steps: int, warmup: int, decay: float, shape: str, end: float) -> None:
    rates = [rate(s, steps, warmup, decay, shape, end) for s in range(steps)]
    assert all(0 < r <= 1 for r in rates)
    assert rate(steps, steps, 0, decay, shape, end) == end
    tail = rates[warmup:]
    assert tail == sorted(tail, reverse=True)


def test_a_cosine_is_as_high_at_its_middle_and_flat_at_its_ends() -> None:
    line, wave = ([rate(s, 100, 0, 1.0, shape) for s in range(100)] for shape in SHAPES)
    assert wave[50] == pytest.approx(line[50]) == 0.5
    assert wave[10] > line[10]
    assert wave[90] < line[90]


@pytest.mark.parametrize("optimiser", list(OPTIMISERS))
def test_every_optimiser_learns_and_resumes_bitwise(optimiser: str, tmp_path) -> None:
    settings = {"training.optimiser": optimiser, "training.lr": 1e-2, "training.log_every": 1}
    whole = trainer(**settings)
    reports = [whole.update(batch(i)) for i in range(40)]
    assert reports[-1]["fvu"] < 0.9 * reports[0]["fvu"]  # type: ignore[index]
    first = trainer(**settings)
    for i in range(17):
        first.update(batch(i))
    checkpoint.save(first, tmp_path / "state.safetensors", {})
    second = trainer(**settings)
    checkpoint.restore(second, tmp_path / "state.safetensors")
    for i in range(17, 40):
        second.update(batch(i))
    states = zip(whole.dictionary.state_dict().items(), second.dictionary.state_dict().values(), strict=True)
    for (name, a), b in states:
        assert torch.equal(a, b), name


def quadratic(optimiser: str, steps: int, lr: float) -> list[float]:
    """Where two numbers are after some steps down (w - 3)^2 from 0, and down (w + 1)^2."""
    w = torch.zeros(2, requires_grad=True)
    made = OPTIMISERS.build(optimiser)([w], lr)
    for _ in range(steps):
        made.zero_grad()
        (w - torch.tensor([3.0, -1.0])).square().sum().backward()
        made.step()
    made.finish()
    return w.tolist()


def test_signum_steps_by_the_sign_of_the_mean_gradient() -> None:
    assert quadratic("signum(momentum=0.5)", 4, 0.1) == pytest.approx([0.4, -0.4])
    assert quadratic("adamw(weight_decay=0.0)", 30, 0.1) == pytest.approx(quadratic("adam", 30, 0.1))


def test_schedule_free_keeps_the_average_of_where_its_steps_led() -> None:
    z = [0.1 * (i + 1) for i in range(5)]  # the sign does not change on the way
    assert quadratic("schedule_free_signum", 5, 0.1)[0] == pytest.approx(sum(z) / 5)
    assert quadratic("schedule_free_signum", 2000, 0.01) == pytest.approx([3, -1], abs=0.3)


def test_resume_equals_an_uninterrupted_run_bitwise(tmp_path) -> None:
    whole = trainer()
    for i in range(40):
        whole.update(batch(i))
    first = trainer()
    for i in range(17):
        first.update(batch(i))
    checkpoint.save(first, tmp_path / "state.safetensors", {"place": [1, 2]})
    second = trainer()
    assert checkpoint.restore(second, tmp_path / "state.safetensors") == {"place": [1, 2]}
    for i in range(17, 40):
        second.update(batch(i))
    for (name, a), b in zip(
        whole.dictionary.state_dict().items(), second.dictionary.state_dict().values(), strict=True
    ):
        assert torch.equal(a, b), name
    assert torch.equal(whole.silent, second.silent)


def test_a_checkpoint_of_another_shape_is_refused(tmp_path) -> None:
    t = trainer()
    t.update(batch(0))
    checkpoint.save(t, tmp_path / "state.safetensors", {})
    with pytest.raises(ValueError, match=r"has shape \[16, 8\], expected \[12, 8\]"):
        checkpoint.restore(trainer(d_sae=12), tmp_path / "state.safetensors")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_activations_that_are_not_finite_are_refused(bad: float) -> None:
    t, x = trainer(), batch(0)
    x[3, 4] = bad
    with pytest.raises(ValueError, match=r"NaN or infinite activations at resid_post\.0"):
        t.update(x)


def test_a_diverging_loss_is_refused() -> None:
    t = trainer()
    with torch.no_grad():
        t.dictionary.W_dec[:] = 1e30
    with pytest.raises(FloatingPointError, match="try a learning rate below"):
        t.update(batch(0))


def test_decoder_rows_stay_at_norm_one() -> None:
    t = trainer()
    for i in range(20):
        t.update(batch(i))
    torch.testing.assert_close(t.dictionary.W_dec.norm(dim=1), torch.ones(16))
    free = trainer(**{"training.decoder_norm": "free"})
    for i in range(20):
        free.update(batch(i))
    assert (free.dictionary.W_dec.norm(dim=1) - 1).abs().max() > 1e-3


def test_report_003s_step_is_plain() -> None:
    """Bounded rows, no b_dec, its objective and its Adam, against the same written out with torch's single-tensor
    Adam: rows that are longer than 1 after a step are cut back, and nothing else happens to them."""
    settings = {
        "training.decoder_norm": "bounded",
        "training.optimiser": "adam(beta1=0.0, beta2=0.9999)",
        "training.warmup": 0,
        "training.decay": 0.0,
        "method": "relu(l1=1.2e-4)",
        "objective": "by_centred_norm()",
        "normalise": "each",
        "b_dec": "none",
        "revive": "none()",
    }
    ours, theirs = trainer(**settings), trainer(**settings)
    W_dec, W_enc, b_enc = (theirs.dictionary.get_parameter(n) for n in ("W_dec", "coder.W_enc", "coder.b_enc"))
    adam = torch.optim.Adam([W_dec, W_enc, b_enc], ours.config.training.lr, (0.0, 0.9999), foreach=False, fused=False)
    for i in range(20):
        ours.update(batch(i))
        x = batch(i) * (8**0.5 / batch(i).norm(dim=1, keepdim=True))
        codes = (x @ W_enc + b_enc).relu()
        error = (codes @ W_dec - x).pow(2) / (x - x.mean(0)).norm(dim=1, keepdim=True)
        adam.zero_grad()
        (error.mean() + 1.2e-4 * codes.sum(1).mean()).backward()
        adam.step()
        with torch.no_grad():
            W_dec /= W_dec.norm(dim=1, keepdim=True).clamp(min=1)
    found = ours.dictionary
    for a, b in zip((found.W_dec, *found.coder.parameters()), (W_dec, W_enc, b_enc), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
    lengths = found.W_dec.norm(dim=1)
    assert lengths.max() <= 1 + 1e-6
    assert lengths.min() < 0.999


def test_a_dictionary_without_b_dec_never_gets_one(tmp_path) -> None:
    t = trainer(b_dec="none", method="relu(l1=0.1)")
    for i in range(10):
        t.update(batch(i))
    assert not t.dictionary.b_dec.any()
    assert not any(name.startswith("b_dec") for name in t.optimiser.state())
    checkpoint.save(t, tmp_path / "state.safetensors", {})
    again = trainer(b_dec="none", method="relu(l1=0.1)")
    checkpoint.restore(again, tmp_path / "state.safetensors")
    for one in (t, again):
        one.update(batch(10))
    assert all(torch.equal(a, b) for a, b in zip(t.dictionary.parameters(), again.dictionary.parameters(), strict=True))
    with pytest.raises(ValueError, match=r"lacks tensor .*b_dec"):
        checkpoint.restore(trainer(method="relu(l1=0.1)"), tmp_path / "state.safetensors")


def test_one_step_equals_plain_adam() -> None:
    """With a free decoder and no clipping, against torch's single-tensor Adam on the same loss."""
    settings = {"training.decoder_norm": "free", "training.warmup": 0, "training.decay": 0.0, "method": "relu(l1=0.1)"}
    ours, theirs = trainer(**settings), trainer(**settings)
    adam = torch.optim.Adam(theirs.dictionary.parameters(), ours.config.training.lr, foreach=False, fused=False)
    for i in range(5):
        ours.update(batch(i))
        d, x = theirs.dictionary, theirs.dictionary.input(batch(i))
        codes = ((x - d.b_dec) @ d.coder.W_enc + d.coder.b_enc).relu()  # type: ignore[operator]
        loss = ((codes @ d.W_dec + d.b_dec - x) ** 2).sum(-1).mean() + 0.1 * codes.sum(-1).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    for a, b in zip(ours.dictionary.parameters(), theirs.dictionary.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_the_log_is_rewound_and_a_cut_line_forgotten(tmp_path) -> None:
    path = tmp_path / "metrics.jsonl"
    for step in (10, 20, 30):
        log.append(path, {"step": step})
    with path.open("a") as file:
        file.write('{"step": 4')
    assert [line["step"] for line in log.read(path)] == [10, 20, 30]
    log.rewind(path, 20)
    assert path.read_text() == '{"step": 10}\n{"step": 20}\n'


def test_config_round_trip_and_nearest_names() -> None:
    config = override(RunConfig(seed=3), {"training.lr": 1, "data.sequences": 64})
    assert from_dict(RunConfig, json.loads(json.dumps(to_dict(config)))) == config
    assert config.hash != RunConfig(seed=3).hash
    with pytest.raises(ValueError, match=r"training\.lrr; did you mean 'lr'"):
        override(config, {"training.lrr": 1e-3})
    with pytest.raises(ValueError, match="did you mean 'training'"):
        override(config, {"trainin.lr": 1e-3})
    with pytest.raises(ValueError, match="d_sae must be a int"):
        override(config, {"d_sae": "many"})
    with pytest.raises(ValueError, match="at least 1"):
        override(config, {"training.steps": 0})


def test_a_backend_that_the_processor_is_not_made_for_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    config = override(RunConfig(method="relu", d_sae=16), {"training.backend": "cpu_bf16"})
    monkeypatch.setattr(pairs, "has_bfloat16", lambda device: False)
    with pytest.raises(ValueError, match="units for bfloat16"):
        Trainer(config, 4)
    monkeypatch.setattr(pairs, "has_bfloat16", lambda device: True)
    assert Trainer(config, 4).step == 0
    config = override(config, {"training.backend": "cpu_int16"})
    monkeypatch.setattr(pairs.cpu_int16, "possible", lambda: False)
    with pytest.raises(ValueError, match="with AVX2"):
        Trainer(config, 4)
    with pytest.raises(ValueError, match="cuda is not for tensors on cpu"):
        Trainer(override(config, {"training.backend": "cuda"}), 4)
