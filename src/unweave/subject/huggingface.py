"""Any language model of the `transformers` library as a subject, by plain PyTorch hooks on its modules.

Its norms are never folded into the weights behind them: activations are those of the model as it was published.
Shapes: B sequences, S positions, D width of a site, V alphabet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from unweave.registry import nearest
from unweave.subject.base import SUBJECTS, Alphabet, Edit
from unweave.subject.families import language_model, places
from unweave.subject.sites import resolve
from unweave.subject.taps import Place, tapped

if TYPE_CHECKING:
    from unweave.text.tokenizer import Tokenizer

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
UNLIMITED = 1 << 20
"""The positions of a model that has no limit of its own (Mamba; ALiBi, as in BLOOM)."""

_FINAL_NORMS = ("ln_f", "norm", "norm_f", "final_layer_norm", "final_layernorm")

# The files that a tokenizer may consist of.
_TOKENIZER = ("tokenizer*", "vocab*", "merges.txt", "special_tokens_map.json", "added_tokens.json", "spiece.model")


class _AllRead(Exception):
    """Every site that was asked for has been read: the rest of the forward pass is not needed."""


class HuggingFace:
    """A `Subject`. model: the library's own; its weights are frozen. path: a folder or a name on the hub, where the
    tokenizer is."""

    def __init__(self, model: Any, path: str = "") -> None:
        """Raises ValueError for a model that does not read one row of tokens."""
        embedding = None
        with suppress(NotImplementedError):
            embedding = model.get_input_embeddings()
        if model.config.is_encoder_decoder or not isinstance(embedding, nn.Embedding):
            raise ValueError(f"{_class(model)} does not read one row of tokens, which a subject does")
        self.model, self.path = model.eval().requires_grad_(False), path
        self._config = model.config.get_text_config()
        for config in (model.config, self._config):
            # transformers 5.0.0 leaves a model changed when a forward pass that collects is broken off.
            config.use_cache = config.output_hidden_states = config.output_attentions = False
            config.return_dict = True
        self._size = embedding.num_embeddings
        self._looks_ahead = any(getattr(part, "is_causal", True) is False for part in language_model(model).modules())
        named = places(model, self._config)
        paths = {name: Place(name, "out") for name, _ in model.named_modules() if name and name not in named}
        self._places: dict[str, Place] = {**named, **paths}
        self._sites = self._reached()

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """Raises FileNotFoundError where there is none beside the weights."""
        from unweave.text.tokenizer import Tokenizer

        return Tokenizer.load(_tokenizer_folder(self.path))

    @cached_property
    def alphabet(self) -> Alphabet:
        """As the tokenizer has it; only its size where there is none beside the weights. Raises ValueError for a
        tokenizer with more tokens than the model."""
        if not self.path or not any(any(_tokenizer_folder(self.path).glob(name)) for name in _TOKENIZER):
            return Alphabet(self._size)
        of = self.tokenizer
        if of.size > self._size:
            raise ValueError(f"the tokenizer of {self.path} has {of.size} tokens, its model {self._size}: not a pair")
        pieces = [of.piece(token) for token in range(of.size)]
        unused = [str(token) for token in range(of.size, self._size)]  # rows that round the embedding's size up
        return Alphabet(self._size, of.pad, of.specials, (*pieces, *unused))

    @property
    def n_positions(self) -> int:
        """The longest sequence it takes; `UNLIMITED` where its config has no limit."""
        limit = getattr(self._config, "max_position_embeddings", None) or UNLIMITED
        # RoBERTa counts its positions from the one behind the padding token's id.
        return limit - (self._config.pad_token_id + 1 if self._config.model_type == "roberta" else 0)

    @property
    def final_norm(self) -> Callable[[Tensor], Tensor]:
        """The norm behind the last layer. Raises AttributeError for a model without one by a name that is known."""
        named = [name for name, _ in language_model(self.model).named_modules() if name.split(".")[-1] in _FINAL_NORMS]
        if not named:
            raise AttributeError(f"{_class(self.model)} has no final norm")
        return language_model(self.model).get_submodule(min(named, key=lambda name: name.count(".")))

    @property
    def unembedding(self) -> Tensor:
        """`[V, D]`. Raises AttributeError for a model without a head."""
        head = self.model.get_output_embeddings()
        if head is None:
            raise AttributeError(f"{_class(self.model)} has no head that predicts tokens")
        return head.weight

    def sites(self) -> dict[str, int]:
        """The sites with names, and every module that returns one vector a position, by its path."""
        return dict(self._sites)

    @torch.no_grad()
    def read(self, tokens: Tensor, sites: Sequence[str]) -> dict[str, Tensor]:
        names = {asked: resolve(asked, self._sites) for asked in sites}
        wanted, found = set(names.values()), {}

        def show(site: str, x: Tensor) -> None:
            found[site] = x.clone()  # the model may write into its own (Falcon adds attention to the MLP's output)
            if len(found) == len(wanted):
                raise _AllRead

        if wanted:
            with suppress(_AllRead):
                self._forward(tokens, wanted, show)
        return {asked: found[site] for asked, site in names.items()}

    def run(self, tokens: Tensor, edits: Mapping[str, Edit] | None = None) -> Tensor:
        """As `Subject.run`. Raises ValueError for a model that predicts no tokens: an encoder without a head."""
        wanted = {resolve(site, self._sites): edit for site, edit in (edits or {}).items()}
        if len(wanted) < len(edits or {}):
            raise ValueError(f"two edits at one site under two names: {', '.join(edits or {})}")
        if self.model.get_output_embeddings() is None:
            raise ValueError(f"{_class(self.model)} has no head that predicts tokens: it can be read, but not run")

        def replace(site: str, x: Tensor) -> Tensor:
            edited = wanted[site](x.clone())
            if edited.shape != x.shape:
                raise ValueError(
                    f"the edit at {site} made {list(edited.shape)} of {list(x.shape)}: the shape must stay"
                )
            return edited.to(x.device, x.dtype, copy=True)  # a copy, as the model may write into it

        return self._forward(tokens, wanted, replace).logits

    def _forward(self, tokens: Tensor, wanted: Collection[str], act: Callable[[str, Tensor], Tensor | None]) -> Any:
        """What the model returns for `tokens [B, S]`; `act` sees `[B, S, D]` at each of the `wanted` sites, as the
        forward pass comes by, and what it returns takes that place."""
        ids = self._checked(tokens).to(self.model.device)
        passed: set[str] = set()

        def tap(site: str, x: Tensor) -> Tensor | None:
            passed.add(site)
            shape = (*ids.shape, self._sites[site])
            if x.shape not in (shape, (ids.numel(), shape[-1])):  # some MLPs get their positions in one long row
                raise ValueError(f"{site} is no site for these tokens: it has {list(x.shape)}, not {list(shape)}")
            y = act(site, x.reshape(shape))
            return None if y is None else y.reshape(x.shape)

        taps = [(self._places[site], partial(tap, site)) for site in self._sites if site in wanted]
        # In a causal model no position knows of the padding behind it. An encoder's positions see it unless it is
        # masked.
        pad = self.alphabet.pad if self._looks_ahead else None
        mask = {} if pad is None else {"attention_mask": (ids != pad).long()}
        with tapped(self.model, taps):
            output = self.model(input_ids=ids, **mask)
        if unpassed := set(wanted) - passed:
            raise ValueError(f"the forward pass did not come by {min(unpassed)}")
        return output

    def _checked(self, tokens: Tensor) -> Tensor:
        if tokens.numel() and not 0 <= int(tokens.min()) <= int(tokens.max()) < self._size:
            raise ValueError(f"a token id outside 0..{self._size - 1}, which is this model's alphabet")
        if tokens.shape[1] > self.n_positions:
            raise ValueError(f"{tokens.shape[1]} tokens in a row: this model has {self.n_positions} positions")
        return tokens

    @torch.no_grad()
    def _reached(self) -> dict[str, int]:
        """Of all places those that a forward pass comes by once and where it has one vector a position, in the order
        in which it does, and their widths: found by trying."""
        ids = torch.arange(10).view(2, 5) % self._size
        passes: Counter[str] = Counter()
        widths: dict[str, int] = {}

        def tap(site: str, x: Tensor) -> None:
            passes[site] += 1
            if x.is_floating_point() and x.shape[:-1] in ((2, 5), (10,)):
                widths[site] = x.shape[-1]

        with tapped(self.model, [(place, partial(tap, site)) for site, place in self._places.items()]):
            self.model(input_ids=ids.to(self.model.device))
        return {site: width for site, width in widths.items() if passes[site] == 1}


@SUBJECTS.register
def huggingface(path: str, dtype: str = "float32", device: str = "cpu") -> HuggingFace:
    """A model of the `transformers` library: a folder with its config.json and safetensors, or a name on the hub.

    Nothing is unpickled, and no code that comes with a model is run. Args: dtype: float32, bfloat16 or float16.
    Raises FileNotFoundError if it is not there or cannot be reached, ValueError if it is damaged, incomplete or no
    language model, or for an unknown dtype or device.
    """
    if dtype not in DTYPES:
        raise ValueError(f"there is no dtype {dtype!r} here{nearest(dtype, DTYPES)}")
    if not Path(path).is_dir() and path.startswith((".", "/", "~")):
        raise FileNotFoundError(f"there is no folder {path}")
    try:
        model, info = _pretrained(path, DTYPES[dtype])
    except OSError as error:
        raise FileNotFoundError(f"there is no model {path}, or it cannot be reached: {_first_line(error)}") from None
    except (ValueError, RuntimeError, ImportError, SafetensorError) as error:
        raise ValueError(f"{path} cannot be loaded: {_first_line(error)}") from None
    # transformers would draw them at random. An encoder's pooler stands behind every site.
    missing = sorted(key for key in info["missing_keys"] if "pooler" not in key.split("."))
    if missing:
        raise ValueError(f"{path} is incomplete: it has no weights for {missing[0]} ({len(missing)} are missing)")
    try:
        model.to(device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"there is no device {device!r}: {_first_line(error)}") from None
    return HuggingFace(model, path)


def _pretrained(path: str, dtype: torch.dtype) -> tuple[Any, dict[str, Any]]:
    """The model with the head that its config names, and what there was to say of its loading."""
    import transformers  # seconds long, and of no use to the other subjects

    config = transformers.AutoConfig.from_pretrained(path, trust_remote_code=False)
    name = (config.architectures or ["AutoModel"])[0]
    if not hasattr(transformers, name):
        raise ValueError(f"transformers {transformers.__version__} has no {name}; one with code of its own is not run")
    how = {"use_safetensors": True, "trust_remote_code": False, "output_loading_info": True}
    logging = transformers.utils.logging
    bars = logging.is_progress_bar_enabled()
    if Path(path).is_dir():  # loads in a moment: a bar is for what comes from far
        logging.disable_progress_bar()
    try:
        return getattr(transformers, name).from_pretrained(path, dtype=dtype, **how)
    finally:
        if bars:
            logging.enable_progress_bar()


def _tokenizer_folder(path: str) -> Path:
    if Path(path).is_dir():
        return Path(path)
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(path, allow_patterns=list(_TOKENIZER)))


def _class(model: nn.Module) -> str:
    return type(model).__name__


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
