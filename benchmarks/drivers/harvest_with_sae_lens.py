"""SAELens's ActivationsStore, of the same model in TransformerLens, on tokens that are there already."""

from __future__ import annotations

import torch
from datasets import Dataset
from gate import asked, serve
from sae_lens import ActivationsStore
from transformer_lens import HookedTransformer, HookedTransformerConfig


def main() -> None:
    work = asked()
    torch.manual_seed(0)
    d, context, size = work["d"], work["context"], 50257
    model = HookedTransformer(
        HookedTransformerConfig(
            n_layers=work["layers"], d_model=d, n_ctx=context, d_head=d // 4, n_heads=4, d_mlp=4 * d, d_vocab=size,
            act_fn="gelu_new", normalization_type="LN", device="cpu",
        )
    )  # fmt: skip
    tokens = torch.randint(0, size, (8192, context)).tolist()
    store = ActivationsStore(
        model=model, dataset=Dataset.from_dict({"tokens": tokens}), streaming=False,
        hook_name=f"blocks.{work['layers'] // 2 - 1}.hook_resid_post", hook_head_index=None, context_size=context,
        d_in=d, n_batches_in_buffer=work["held"], total_training_tokens=10**6, store_batch_size_prompts=32,
        train_batch_size_tokens=work["batch"], prepend_bos=False, normalize_activations="none",
        device=torch.device("cpu"), dtype="float32",
    )  # fmt: skip

    def step() -> int:
        return sum(len(store.next_batch()) for _ in range(work["batches"]))

    serve(step)


if __name__ == "__main__":
    main()
