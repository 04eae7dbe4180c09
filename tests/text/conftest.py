"""Tokenizers of each family, small and made here, and text in memory."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from unweave.text import tokenizer
from unweave.text.sources import Document
from unweave.text.tokenizer import Tokenizer

LINES = [
    "The quick brown fox jumps over the lazy dog, running and jumping.",
    "Zażółć gęślą jaźń; 日本語のテキスト, naïve café 🦊.",
    "def f(x):\n    return x + 1  # <|endoftext|> [SEP] </s>\n",
]


@pytest.fixture(scope="session")
def ours() -> Tokenizer:
    """Byte-level BPE of 300 tokens."""
    return tokenizer.train((Document(str(i), text) for i, text in enumerate(LINES * 3)), 300)


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an encoder's tokenizer: [CLS] before, [SEP] after, WordPiece between."""
    backend = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=60, special_tokens=specials, show_progress=False)
    backend.train_from_iterator(LINES[:1] * 3, trainer)
    vocabulary = backend.get_vocab()
    folder = tmp_path_factory.mktemp("bert")
    (folder / "vocab.txt").write_text("\n".join(sorted(vocabulary, key=lambda token: vocabulary[token])))
    (folder / "config.json").write_text('{"model_type": "bert"}')
    return folder


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tokenizer as SentencePiece makes them: <s> before, "▁" for a space, bytes for what is rare."""
    words = [
        "<unk>",
        "<s>",
        "</s>",
        *(f"<0x{byte:02X}>" for byte in range(256)),
        *"▁abcdefghijklmnopqrstuvwxyz",
        "▁t",
        "he",
    ]
    backend = tokenizers.Tokenizer(
        models.BPE(
            {word: id for id, word in enumerate(words)}, [("▁", "t"), ("h", "e")], unk_token="<unk>", byte_fallback=True
        )
    )
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    backend.add_special_tokens(["<unk>", "<s>", "</s>"])
    folder = tmp_path_factory.mktemp("llama")
    backend.save(str(folder / "tokenizer.json"))
    roles = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"} | roles))
    return folder
