"""Subjects by name and from disk, and the control."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from unweave import files
from unweave.subject import GPT, SUBJECTS, Alphabet, GPTConfig, disk, load, save
from unweave.subject.othello import ALPHABET

CONFIG = GPTConfig(n_layers=2, d_model=16, n_heads=2)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    save(GPT(CONFIG, ALPHABET), tmp_path / "model")
    return tmp_path / "model"


def test_saved_and_loaded_is_the_model_rounded(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = GPT(CONFIG, ALPHABET)
    assert [path.name for path in save(model, tmp_path)] == ["model.safetensors"]
    for call in (str(tmp_path), str(tmp_path / "model.safetensors"), f"saved(path={str(tmp_path)!r})"):
        loaded = load(call)
        assert isinstance(loaded, GPT)
        assert loaded.config == CONFIG
        assert loaded.alphabet == ALPHABET
        for name, tensor in loaded.state_dict().items():
            assert torch.equal(tensor, model.state_dict()[name].bfloat16().float())
        assert not any(p.requires_grad for p in loaded.parameters())


def test_a_model_takes_the_place_of_one_in_other_parts(tmp_path: Path) -> None:
    torch.manual_seed(0)
    small, large = (GPT(GPTConfig(n_layers=n, d_model=16, n_heads=2)) for n in (1, 2))
    save(small, tmp_path)
    save(large, tmp_path, shard_bytes=8000)
    found = load(str(tmp_path))
    assert isinstance(found, GPT)
    assert found.config == large.config
    (tmp_path / "model_of_mine.safetensors").touch()
    save(small, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.safetensors", "model_of_mine.safetensors"]


def test_a_large_model_is_saved_in_shards(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = GPT(CONFIG)
    paths = save(model, tmp_path, dtype=torch.float32, shard_bytes=10_000)
    assert len(paths) > 2
    assert max(path.stat().st_size for path in paths) < 20_000
    loaded = load(str(tmp_path))
    assert isinstance(loaded, GPT)
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), model.parameters(), strict=True))
    with pytest.raises(ValueError, match=f"holds 1 of the {len(paths)} files"):
        load(str(paths[0]))
    paths[1].unlink()
    with pytest.raises(ValueError, match=f"holds {len(paths) - 1} of the {len(paths)} files"):
        load(str(tmp_path))


def test_the_control_keeps_every_entry_and_nothing_else(folder: Path) -> None:
    of, control = load(str(folder)), load(f"control(of={str(folder)!r}, seed=1)")
    assert isinstance(of, GPT)
    assert isinstance(control, GPT)
    for (name, a), b in zip(of.named_parameters(), control.parameters(), strict=True):
        assert torch.equal(a.flatten().sort().values, b.flatten().sort().values)
        assert a.unique().numel() == 1 or not torch.equal(a, b), name
    again, other = load(f"control(of={str(folder)!r}, seed=1)"), load(f"control(of={str(folder)!r}, seed=2)")
    tokens = torch.randint(1, 61, (2, 5))
    assert torch.equal(control.run(tokens), again.run(tokens))
    assert not torch.equal(control.run(tokens), other.run(tokens))


def test_the_control_of_a_subject_that_holds_its_model(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    class Holder:
        """A subject that is no module itself, as those of other libraries' models are."""

        def __init__(self) -> None:
            self.model = load(str(folder))

        def __getattr__(self, name: str) -> object:
            return getattr(self.model, name)

    def holder() -> Holder:
        return Holder()

    monkeypatch.setitem(SUBJECTS._builders, "holder", holder)
    control, expected = load("control(of='holder()', seed=1)"), load(f"control(of={str(folder)!r}, seed=1)")
    tokens = torch.randint(1, 61, (2, 5))
    assert torch.equal(control.run(tokens), expected.run(tokens))
    with pytest.raises(ValueError, match=r"shuffles a model's weights: toy\(\) has none"):
        load("control(of='toy()')")


def test_bad_names_and_files_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no subject is called 'othelo'; did you mean 'othello'"):
        load("othelo()")
    with pytest.raises(ValueError, match="control has no argument 'sed'"):
        load("control(sed=1)")
    with pytest.raises(FileNotFoundError, match="no model in"):
        load(str(tmp_path))
    with pytest.raises(FileNotFoundError, match="no file"):
        load(str(tmp_path / "model.safetensors"))
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="damaged, half-written"):
        load(str(folder))
    files.write_tensors(folder / "model.safetensors", {"a": torch.ones(1)})
    with pytest.raises(ValueError, match="not a model of ours"):
        load(str(folder))


def test_a_model_of_another_shape_is_refused_by_tensor() -> None:
    tensors = GPT(CONFIG).state_dict()
    wrong = tensors | {"blocks.1.up.bias": torch.zeros(3)}
    with pytest.raises(ValueError, match=r"tensor blocks\.1\.up\.bias has shape \[3\], expected \[64\]"):
        disk.build(CONFIG, wrong, "here")
    with pytest.raises(ValueError, match=r"here has no tensor positions: expected one of shape \[59, 16\]"):
        disk.build(CONFIG, {k: v for k, v in tensors.items() if k != "positions"}, "here")
    with pytest.raises(ValueError, match="a tensor extra that this model has no place for"):
        disk.build(CONFIG, tensors | {"extra": torch.ones(1)}, "here")


def test_the_registry_names_every_kind_of_subject() -> None:
    assert {"othello", "control", "saved", "othellogpt"} <= set(SUBJECTS)


def test_alphabets() -> None:
    assert (ALPHABET.size, ALPHABET.pad, ALPHABET.specials) == (61, 0, (0,))
    assert [ALPHABET.name(i) for i in (0, 1, 27, 28, 60)] == ["pad", "a1", "c4", "f4", "h8"]
    assert Alphabet(4).name(3) == "3"
    with pytest.raises(ValueError, match="no token 61: this alphabet has ids 0 to 60"):
        ALPHABET.name(61)
    with pytest.raises(ValueError, match="4 tokens cannot have 1 names"):
        Alphabet(4, names=("a",))
