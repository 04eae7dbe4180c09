"""Two runs that nobody had to train: a random dictionary of games and one of text, both of tiny subjects."""

from __future__ import annotations

from pathlib import Path

import tiny_reader
import tiny_text  # noqa: F401 (its subject is in the registry then)
import torch

from unweave import files
from unweave.config import RunConfig, override, to_dict
from unweave.dictionary import Dictionary, export
from unweave.othello.tokens import SIZE
from unweave.runs import Run
from unweave.subject import GPT, Alphabet, GPTConfig, disk

F, D = 24, 16
DEAD = 3


def write_run(folder: Path, config: RunConfig) -> Run:
    """A run whose dictionary is random, with one feature that never fires and one that nearly always does."""
    dictionary = Dictionary(D, config.d_sae, config.method, seed=3).eval()
    with torch.no_grad():
        dictionary.coder.b_enc.normal_(std=0.3, generator=torch.Generator().manual_seed(5))
        dictionary.coder.b_enc[DEAD] = -1e3
        dictionary.coder.b_enc[DEAD + 1] = 5
        dictionary.coder.W_enc += 0.3 * torch.randn(D, config.d_sae, generator=torch.Generator().manual_seed(6))
        dictionary.W_dec *= torch.linspace(0.5, 2, config.d_sae)[:, None]
    files.write_json(folder / "config.json", {"config": to_dict(config), "hash": config.hash})
    export.save(dictionary, folder / "sae.safetensors")
    return Run(folder)


def evaluate(run: Run) -> None:
    """An evaluation with invented scores."""
    draw = torch.Generator().manual_seed(1)
    auroc = 0.5 + 0.5 * torch.rand(F, 252, generator=draw)
    auroc[:, 128 + 27] = torch.nan
    label = torch.randint(0, 128, (F,), generator=draw)
    label[7] = -1
    tensors = {"auroc": auroc, "auroc_within": auroc - 0.1, "label_of": label}
    files.write_tensors(run.folder / "evaluation.safetensors", tensors)
    rows = [{"name": "dictionary", "readout": "activations", "is_control": False, "scores": {"l0/1": 6.0}}]
    files.write_json(run.folder / "evaluation.json", {"rows": rows, "metrics": {"l0/1": {"title": "L0"}}})


def games_run(folder: Path, method: str = "topk(k=6)") -> Run:
    """Of a subject of two layers that reads games."""
    torch.manual_seed(2)
    model = GPT(GPTConfig(n_layers=2, d_model=D, n_heads=2, n_tokens=SIZE), Alphabet(SIZE, pad=0))
    for weight in model.parameters():
        weight.data.mul_(8)
    disk.save(model, folder / "subject")
    base = {"subject": str(folder / "subject"), "site": "resid_post.0", "d_sae": F, "method": method}
    return write_run(folder / "games", override(RunConfig(), base))


def text_run(folder: Path, method: str = "topk(k=6)") -> Run:
    """Of a subject of two layers that reads text; `UNWEAVE_CACHE` should be set."""
    path = tiny_reader.write(folder / "some.jsonl", tiny_reader.documents(400))
    base = {
        "subject": "tiny_text()",
        "site": "resid_mid.1",
        "d_sae": F,
        "method": method,
        "data.text": str(path),
        "data.context": tiny_reader.CONTEXT,
    }
    return write_run(folder / "text", override(RunConfig(), base))
