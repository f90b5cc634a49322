"""A cross-encoder in memory: pairs become tokens, tokens become scores. Everything here runs in a thread and takes its time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

CHARACTERS: Final = 8192  # of a question or a text that are looked at
TYPES: Final = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}
FIELDS: Final = {  # inputs, as exporters name them, and where the tokenizer has them
    "input_ids": "ids",
    "attention_mask": "attention_mask",
    "token_type_ids": "type_ids",
}


class Session:
    """tokens: of a pair, that are read. threads: that one pair may use. Raises ValueError for a model that is no reranker, and whatever
    onnxruntime and tokenizers raise for files that are none of theirs.
    """

    def __init__(self, model: Path, tokenizer: Path, tokens: int, threads: int) -> None:
        self._tokenizer = Tokenizer.from_file(str(tokenizer))
        self._tokenizer.no_padding()
        # Of the longer of the two: the passage, as a rule; a question that is longer than half of it all is cut as well.
        self._tokenizer.enable_truncation(tokens, strategy="longest_first")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors only
        self._session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        self._inputs: list[tuple[str, str, Any]] = []
        for given in self._session.get_inputs():
            if given.name not in FIELDS or given.type not in TYPES:
                raise ValueError(
                    f"its input {given.name!r} ({given.type}) is none of a cross-encoder's: {', '.join(FIELDS)}"
                )
            self._inputs.append((given.name, FIELDS[given.name], TYPES[given.type]))
        self._output = self._session.get_outputs()[0].name

    def scores(self, question: str, texts: Sequence[str]) -> list[float]:
        """One pair at a time: together they would be padded to the longest, and int8 activations would share a scale, so that a text's
        score would depend on its company.
        """
        question = _whole(question)
        out = []
        for text in texts:
            pair = self._tokenizer.encode(question, _whole(text))
            given = {name: np.array([getattr(pair, field)], kind) for name, field, kind in self._inputs}
            (answer,) = self._session.run([self._output], given)
            if answer.size != 1:
                raise ValueError(f"it gives {answer.size} numbers for a pair, and a reranker gives one")
            out.append(float(answer.reshape(-1)[0]))
        return out


def _whole(text: str) -> str:
    return text[:CHARACTERS].encode("utf-8", "replace").decode()
