"""A model for ONNX Runtime GenAI in a folder, small enough to be made in a test, and a library that behaves as onnxruntime_genai does.

The model knows one sentence: each token has one successor. Its tokens are bytes, so characters come in pieces.
"""

from __future__ import annotations

import itertools
import json
import os
import time
from pathlib import Path
from typing import Any

SAYS = "Hé👋 you"
END, USER, ASSISTANT = 256, 257, 258
NAMES = {END: "<|end|>", USER: "<|user|>", ASSISTANT: "<|assistant|>"}
SIZE = 259
TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def successors() -> list[int]:
    """Of each token. A text that ends in anything but a byte of the sentence is answered with its end."""
    spoken = [ASSISTANT, *SAYS.encode(), END]
    known = dict(itertools.pairwise(spoken))
    return [known.get(token, END) for token in range(SIZE)]


def folder(at: Path, *, template: bool = True, context: int = 4096) -> Path:
    """The files beside the model itself."""
    at.mkdir(exist_ok=True)
    decoder = {
        "filename": "model.onnx",
        "head_size": 1,
        "hidden_size": 1,
        "num_attention_heads": 1,
        "num_hidden_layers": 0,
        "num_key_value_heads": 1,
        "session_options": {"provider_options": []},
        "inputs": {"input_ids": "input_ids", "attention_mask": "attention_mask"},
        "outputs": {"logits": "logits"},
    }
    model = {
        "type": "llama",
        "vocab_size": SIZE,
        "context_length": context,
        "bos_token_id": END,
        "eos_token_id": [END],
        "pad_token_id": END,
        "decoder": decoder,
    }
    search = {"max_length": context, "do_sample": False, "past_present_share_buffer": False}
    _write(at / "genai_config.json", {"model": model, "search": search})
    about = {"tokenizer_class": "GPT2Tokenizer", "eos_token": "<|end|>", "bos_token": "<|end|>", "unk_token": "<|end|>"}
    _write(at / "tokenizer_config.json", about | ({"chat_template": TEMPLATE} if template else {}))
    vocabulary = {letter: byte for byte, letter in _letters().items()} | {name: n for n, name in NAMES.items()}
    added = [
        {"id": n, "content": name, "single_word": False, "lstrip": False, "rstrip": False}
        | {"normalized": False, "special": True}
        for n, name in NAMES.items()
    ]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    pieces = {"type": "BPE", "vocab": vocabulary, "merges": [], "dropout": None, "unk_token": None}
    tokenizer = {"version": "1.0", "added_tokens": added, "pre_tokenizer": level, "decoder": level, "model": pieces}
    _write(at / "tokenizer.json", tokenizer)
    return at


def with_weights(at: Path) -> Path:
    """The model itself too, for the real library; needs the package onnx."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = np.full((SIZE, SIZE), -10, np.float32)
    weights[range(SIZE), successors()] = 10
    ids = [
        helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "tokens"]),
        helper.make_tensor_value_info("attention_mask", TensorProto.INT64, ["batch", "all"]),
    ]
    logits = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", "tokens", SIZE])]
    node = helper.make_node("Gather", ["weights", "input_ids"], ["logits"])
    graph = helper.make_graph([node], "tiny", ids, logits, [numpy_helper.from_array(weights, "weights")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, at / "model.onnx")
    return at


def _write(at: Path, value: Any) -> None:
    at.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")


def _letters() -> dict[int, str]:
    """How byte-level tokenizers write each byte."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return {byte: chr(byte) for byte in plain} | {byte: chr(256 + n) for n, byte in enumerate(others)}


# What onnxruntime_genai 0.18 has of Model, Tokenizer, GeneratorParams and Generator, for the same model. It runs in a process of its own, so
# what it did is in the file `log` of the folder; while there is a file `hold`, a token waits for it, and with a file `fail` loading fails.


class Model:
    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        print("a library may print what it likes")
        if (self.folder / "fail").exists():
            raise RuntimeError("not enough memory")
        self.note("load")

    def note(self, *said: Any) -> None:
        with (self.folder / "log").open("a") as log:
            log.write(json.dumps(said) + "\n")


class GeneratorParams:
    def __init__(self, model: Model) -> None:
        self.options: dict[str, Any] = {}

    def set_search_options(self, **options: Any) -> None:
        self.options |= options


class Generator:
    def __init__(self, model: Model, params: GeneratorParams) -> None:
        self.model = model
        self.options = params.options
        self.tokens: list[int] = []
        self.next = successors()

    def append_tokens(self, tokens: list[int]) -> None:
        self.tokens += tokens
        self.model.note("ask", self.options, tokens)

    def is_done(self) -> bool:
        return self.tokens[-1] == END or len(self.tokens) >= self.options["max_length"]

    def generate_next_token(self) -> None:
        assert not self.is_done()
        while (self.model.folder / "hold").exists():
            time.sleep(0.002)
        if (self.model.folder / "die").exists():
            os._exit(3)
        self.model.note("step")
        self.tokens.append(self.next[self.tokens[-1]])

    def get_next_tokens(self) -> list[int]:
        return self.tokens[-1:]


class Tokenizer:
    def __init__(self, model: Model) -> None: ...

    def apply_chat_template(self, messages: str, *, add_generation_prompt: bool = True) -> str:
        said = "".join(f"<|{m['role']}|>{m['content']}" for m in json.loads(messages))
        return said + ("<|assistant|>" if add_generation_prompt else "")

    def encode(self, text: str) -> list[int]:
        out: list[int] = []
        while text:
            known = next((n for n, name in NAMES.items() if text.startswith(name)), None)
            out += text[0].encode() if known is None else [known]
            text = text[1 if known is None else len(NAMES[known]) :]
        return out

    def create_stream(self) -> Stream:
        return Stream()


class Stream:
    def __init__(self) -> None:
        self.held = b""

    def decode(self, token: int) -> str:
        if token >= END:
            return ""
        try:
            text, self.held = (self.held + bytes([token])).decode(), b""
        except UnicodeDecodeError:
            self.held += bytes([token])
            return ""
        return text


def log(folder: Path, kind: str) -> list[Any]:
    """What the library did of one kind."""
    at = folder / "log"
    lines = [json.loads(line) for line in at.read_text().splitlines()] if at.exists() else []
    return [rest for name, *rest in lines if name == kind]
