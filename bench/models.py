"""Comments a second of the label lane's model beside the usual ways to run the same weights, with the quality of each.

    python -m bench.models                  # BENCH_ROUNDS=5 BENCH_COMMENTS=256 BENCH_JUDGED=600

In turn in one process on one thread, over the same comments of our corpus (real lengths, all different, so that no
cache helps): `transformers.pipeline` one by one and in batches of 32, onnxruntime int8 (dynamic, per channel), and ours
in fp32, bf16 and int8. Seconds are of the processor, of all threads, so that a busy machine disturbs less. The limit is
what the processor reaches on the encoder's own matrices alone, in the same round. The pipelines give the encoder's
vectors only; heads, topics and language come on top in ours. Quality is measured on our own test split.
"""

from __future__ import annotations

import os
import random
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RAYON_NUM_THREADS", "1")

import numpy as np
import onnxruntime
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import nn
from transformers import AutoTokenizer, pipeline

from bench.report import markdown, save, spread
from models import convert
from models.evaluate import Report, evaluate
from models.labeler import Labeler
from models.settings import ModelSettings
from pipeline.generator import corpus

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
COUNT = int(os.environ.get("BENCH_COMMENTS", "256"))
JUDGED = int(os.environ.get("BENCH_JUDGED", "600"))
LANE = 128  # comments that the label lane labels at once
FEW = 64  # comments a round for what takes one by one
PRECISIONS = ("fp32", "bf16", "int8")
ROWS = 1024  # tokens of a product when the limit is measured


@dataclass
class Answer:
    """What an encoder gives, as far as ours looks at it."""

    last_hidden_state: torch.Tensor


class OnnxModel:
    """The encoder under onnxruntime, called as transformers' own."""

    def __init__(self, path: Path, config: Any) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.config = config

    def __call__(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Answer:
        """(texts, tokens) twice to (texts, tokens, width)."""
        feeds = {"input_ids": input_ids.numpy(), "attention_mask": attention_mask.numpy()}
        return Answer(torch.from_numpy(self._session.run(None, feeds)[0]))


class _Outputs(nn.Module):
    """The encoder with a plain tensor for its answer, as the exporter wants it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        hidden: torch.Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return hidden


def onnx_int8(model: nn.Module, folder: Path) -> Path:
    """Export and quantise; the path of the result."""
    whole, small = folder / "fp32.onnx", folder / "int8.onnx"
    example = torch.ones((2, 9), dtype=torch.int64)
    axes = {0: "texts", 1: "tokens"}
    torch.onnx.export(
        _Outputs(model), (example, example), str(whole), input_names=["input_ids", "attention_mask"],
        output_names=["hidden"], dynamic_axes=dict.fromkeys(("input_ids", "attention_mask", "hidden"), axes),
        dynamo=False,
    )  # fmt: skip
    quantize_dynamic(whole, small, per_channel=True, weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul"])
    return small


def shapes(model: nn.Module) -> list[tuple[int, int]]:
    """(inputs, outputs) of every linear layer that a token passes."""
    return [
        (module.in_features, module.out_features)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and "pooler" not in name
    ]


def product_rates(matrices: Sequence[tuple[int, int]]) -> dict[str, float]:
    """Operations a second of `matrices` alone, a precision: the limit of any way to run them."""
    seconds = dict.fromkeys(PRECISIONS, 0.0)
    for inputs, outputs in sorted(set(matrices)):
        times = matrices.count((inputs, outputs))
        rows, weight = torch.randn(ROWS, inputs), torch.randn(inputs, outputs)
        eight = [torch.randint(-127, 128, tuple(x.shape), dtype=torch.int8) for x in (rows, weight)]
        half = [x.bfloat16() for x in (rows, weight)]
        products: dict[str, Callable[[], object]] = {
            "fp32": partial(torch.mm, rows, weight),
            "bf16": partial(torch.mm, *half),
            "int8": partial(torch._int_mm, *eight),
        }
        for name, product in products.items():
            product()
            seconds[name] += times * min(_seconds(product) for _ in range(5))
    work = 2 * ROWS * sum(inputs * outputs for inputs, outputs in matrices)
    return {name: work / spent for name, spent in seconds.items()}


def _seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def main() -> None:
    """Run and save."""
    torch.set_num_threads(1)
    rows = list(corpus())
    random.Random(5).shuffle(rows)
    texts = [row["text"] for row in rows]
    judged = [row for row in rows if row["split"] == "test"][:JUDGED]
    labelers = {name: Labeler.load(ModelSettings(precision=name, cache_size=0)) for name in PRECISIONS}
    exact = labelers["fp32"].encoder.model
    matrices = shapes(exact)
    with tempfile.TemporaryDirectory() as folder:
        onnx = Labeler.load(ModelSettings(precision="fp32", cache_size=0))
        onnx.encoder.model = OnnxModel(onnx_int8(onnx.encoder.model, Path(folder)), exact.config)
    tokenizer = AutoTokenizer.from_pretrained(convert.ensure_default_model(ModelSettings().dir))
    usual = pipeline("feature-extraction", model=exact, tokenizer=tokenizer, device="cpu")
    ways: dict[str, Callable[[Sequence[str]], object]] = {
        "pipeline(), one by one": lambda chosen: [usual(text, return_tensors=True) for text in chosen[:FEW]],
        "pipeline(), batches of 32": lambda chosen: usual(list(chosen), batch_size=32, return_tensors=True),
        "onnxruntime int8, our batches": lambda chosen: _lane(onnx, chosen),
        **{f"ours, {name}": partial(_lane, labelers[name]) for name in PRECISIONS},
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    limits: dict[str, list[float]] = {name: [] for name in PRECISIONS}
    lengths = []
    for round_ in range(ROUNDS):
        chosen = texts[round_ * COUNT : (round_ + 1) * COUNT]
        tokens = float(np.mean([len(tokenizer(text)["input_ids"]) for text in chosen]))
        lengths.append(tokens)
        for name, rate in product_rates(matrices).items():
            limits[name].append(rate / (2 * sum(a * b for a, b in matrices) * tokens))
        for name, work in ways.items():
            count = FEW if "one by one" in name else COUNT
            rates[name].append(count / _seconds(partial(work, chosen)))
    quality = {f"ours, {name}": _judge(labelers[name], judged) for name in PRECISIONS}
    quality["onnxruntime int8, our batches"] = _judge(onnx, judged)
    save(
        "models",
        "Comments a second, one thread",
        _text(rates, limits, quality, lengths, labelers["fp32"].model_version),
    )


def _lane(labeler: Labeler, texts: Sequence[str]) -> None:
    for start in range(0, len(texts), LANE):
        labeler.label(texts[start : start + LANE])


def _judge(labeler: Labeler, rows: Sequence[Mapping[str, Any]]) -> Report:
    return evaluate(labeler, "test", rows)[0]


def _text(
    rates: Mapping[str, list[float]], limits: Mapping[str, list[float]], quality: Mapping[str, Report],
    lengths: Sequence[float], version: str,
) -> str:  # fmt: skip
    one, batched = rates["pipeline(), one by one"], rates["pipeline(), batches of 32"]
    table = []
    for name, found in rates.items():
        own = limits[name.removeprefix("ours, ") if name.startswith("ours") else "int8" if "int8" in name else "fp32"]
        report = quality.get(name)
        table.append([
            name, spread(found), f"{median(found) * median(lengths):,.0f}",
            *(f"{median(a / b for a, b in zip(found, base, strict=True)):.1f}" for base in (one, batched)),
            f"{100 * median(a / b for a, b in zip(found, own, strict=True)):.0f} %",
            *(["as ours, fp32"] * 3 if report is None else _shares(report)),
        ])  # fmt: skip
    columns = ["how", "comments/s", "tokens/s", "x one by one", "x batched", "of its limit", "macro-F1, 3 classes",
               "exact class of six", "topics macro-F1"]  # fmt: skip
    bounds = "; ".join(f"{name} {spread(found)}" for name, found in limits.items())
    return (
        f"Of processor time, medians (and ranges) of {ROUNDS} rounds in turn of {COUNT} comments of "
        f"{median(lengths):.1f} tokens ({FEW} for one by one). Model: {version}.\n"
        f"Quality on {JUDGED} comments of our own test split, in %.\n\n{markdown(columns, table)}\n\n"
        f"The limit, comments/s of the matrix products alone: {bounds}."
    )


def _shares(report: Report) -> list[str]:
    figures = (report.macro_f1, report.six_accuracy, report.topics_macro_f1)
    return ["" if figure is None else f"{100 * figure:.1f}" for figure in figures]


if __name__ == "__main__":
    main()
