"""A language model behind an OpenAI-compatible address, by the standard library alone."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

_TRIES, _WAIT = 4, 1.0  # seconds, twice as long each time


@dataclass(frozen=True)
class Endpoint:
    """url: as "http://localhost:8000/v1", to which /chat/completions is added. key: sent as a bearer token, if any."""

    url: str
    model: str
    key: str = ""
    timeout: float = 120.0

    def __call__(self, prompt: str) -> str:
        """The model's answer; tried again where the server is busy.

        Raises ValueError for an address that cannot be, OSError where nobody answers, or not as expected.
        """
        if not self.url.startswith(("http://", "https://")):
            raise ValueError(f"{self.url} is not the address of a model: it begins with http:// or https://")
        for left in reversed(range(_TRIES)):
            try:
                return self._content(self._post(prompt))
            except urllib.error.HTTPError as error:
                with error:
                    if not left or error.code not in (408, 429, 500, 502, 503, 504):
                        said = error.read(300).decode(errors="replace").strip()
                        raise OSError(f"{self.url} answered {error.code} {error.reason}: {said}") from None
            except urllib.error.URLError as error:
                raise OSError(f"nobody answers at {self.url}: {error.reason}") from None
            time.sleep(_WAIT * 2 ** (_TRIES - 1 - left))
        raise AssertionError

    def _post(self, prompt: str) -> Any:
        asked = {"model": self.model, "messages": [{"role": "user", "content": prompt}], "temperature": 0}
        headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {self.key}"} if self.key else {})}
        request = urllib.request.Request(
            f"{self.url.rstrip('/')}/chat/completions", json.dumps(asked).encode(), headers, method="POST"
        )
        with urllib.request.urlopen(request, timeout=self.timeout) as answer:
            return answer.read()

    def _content(self, raw: bytes) -> str:
        try:
            content = json.loads(raw)["choices"][0]["message"]["content"]
        except (ValueError, KeyError, IndexError, TypeError):
            raise OSError(f"{self.url} does not answer as the OpenAI interface does") from None
        if not isinstance(content, str):
            raise OSError(f"{self.url} answered without a text")
        return content
