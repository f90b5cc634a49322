"""The local model in memory: texts become tokens, tokens become vectors. Everything here runs in a thread and takes its time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

TOKENS: Final = 256  # that the model reads of a text, as its card says
CHARACTERS: Final = (
    8192  # of a text that are looked at: a token is five in English, and what is behind is not read anyway
)


class Session:
    """threads: that one text may use. Raises whatever onnxruntime and tokenizers raise for files that are none of theirs."""

    def __init__(self, model: Path, tokenizer: Path, threads: int) -> None:
        self._tokenizer = Tokenizer.from_file(str(tokenizer))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(TOKENS)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors only
        self._session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])

    def encode(self, texts: Sequence[str]) -> tuple[list[bytes], int]:
        """A unit vector for each text, little-endian float32, and how many texts were too long to be read whole.

        One text at a time: together they would be padded to the longest, and the scale of their int8 activations would be shared,
        so that a text's vector would depend on its company.
        """
        vectors: list[bytes] = []
        cut = 0
        for text in texts:
            tokens = self._tokenizer.encode(text[:CHARACTERS].encode("utf-8", "replace").decode())
            cut += bool(tokens.overflowing) or len(text) > CHARACTERS
            ids = np.array([tokens.ids], np.int64)
            (vector,) = self._session.run(["vector"], {"ids": ids, "mask": np.ones_like(ids)})
            vectors.append(vector[0].astype("<f4").tobytes())
        return vectors, cut
