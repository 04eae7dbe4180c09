"""A view folder without anything behind it: what the server hands out, and no model."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np

from unweave import files

SCRIPT = "<script>alert('x')</script>"


def write_view(run: Path, n: int = 3) -> Path:
    """A run of n features with a view, whose words are a script."""
    view = run / "view"
    files.write_json(run / "config.json", {"config": {"method": SCRIPT, "seed": 0}, "hash": "0"})
    files.write_text(run / "metrics.jsonl", '{"step": 50, "loss": 2.5}\n{"step": 100, "loss": 2, "fvu": 0.1}\n{"st')
    files.write_text(run / "sae.safetensors", "weights")
    blocks = [gzip.compress(json.dumps({"id": f, "text": SCRIPT}).encode(), mtime=0) for f in range(n)]
    view.mkdir()
    (view / "pages.bin").write_bytes(b"".join(blocks))
    (view / "pages.idx").write_bytes(np.cumsum([0, *map(len, blocks)]).astype("<u8").tobytes())
    files.write_arrays(view / "columns.safetensors", {"density": np.zeros(n, np.float32)})
    files.write_json(view / "tokens.json", {"pieces": [SCRIPT]})
    files.write_json(view / "labels.json", {"labels": []})
    fixed = ("pages.bin", "pages.idx", "tokens.json")
    about = {name: {"bytes": (view / name).stat().st_size, "sha256": files.sha256(view / name)} for name in fixed}
    made = {"hash": "0", "dictionary": files.sha256(run / "sae.safetensors"), "evaluation": None}
    manifest = {"version": "unweave.view/2", "kind": "text", "d_sae": n, "made": made, "files": about, "columns": []}
    files.write_json(view / "manifest.json", manifest)
    return run
