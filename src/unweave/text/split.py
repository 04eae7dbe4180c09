"""Which documents are for training, for validation and for testing: by what stands in them, not by where they stand."""

from __future__ import annotations

import hashlib
from typing import Literal

from unweave.text.sources import Document

Split = Literal["train", "validation", "test"]

# Hundredths of all documents, from the end.
_VALIDATION, _TEST = 5, 5


def split_of(document: Document) -> Split:
    """The split that a document belongs to: 90 in 100 are for training, 5 for validation and 5 for testing.

    It depends on the document's text alone (or on its `key`, where it has one), so that no seed and no order of files
    can bring a text that a model was trained on into a test, not even a copy under another name.
    """
    digest = hashlib.blake2b((document.key or document.text).encode(), digest_size=8).digest()
    lot = int.from_bytes(digest, "little") % 100
    return "test" if lot < _TEST else "validation" if lot < _TEST + _VALIDATION else "train"
