"""Fewer bits for the encoder's matrices, where the processor multiplies them faster: int8, bfloat16, or all of fp32.

int8 is `models.eightbit`; it gives a comment the same labels whatever it is labelled beside. bfloat16 rounds
differently in batches of other shapes, which changes the label of a close case (1 of 150). Used by `models.encoder`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from transformers.models.bert.modeling_bert import BertModel

from models.eightbit import EightBitBert
from models.errors import ModelError
from models.settings import Precision


def resolve(precision: Precision, model: Any) -> Precision:
    """What `auto` is for this model on this processor: int8 where that is at hand, else bf16 where it is fast."""
    if precision != "auto":
        return precision
    if torch.cpu._is_vnni_supported() and _can_be_eight_bit(model):
        return "int8"
    return "bf16" if torch.cpu._is_avx512_bf16_supported() else "fp32"  # also true wherever AMX is


def lowered(model: Any, precision: Precision, run: Callable[[], object]) -> Any:
    """What to compute with in the place of `model`, which is used up.

    `run` calls it on typical texts, so that int8 can see the size of its inputs. Raises ModelError.
    """
    if precision == "bf16":
        # On a processor, the fused attention of torch is slower in bfloat16 than plain products.
        model.set_attn_implementation("eager")
        return model.to(torch.bfloat16)
    if precision == "int8":
        if not _can_be_eight_bit(model):
            raise ModelError(
                f"int8 is there for BERT encoders with GELU on x86 processors, not for {type(model).__name__} here: "
                "set VOC_MODEL_PRECISION to bf16, fp32 or auto"
            )
        return EightBitBert(model, run)
    return model


def _can_be_eight_bit(model: Any) -> bool:
    known = isinstance(model, BertModel) and model.config.hidden_act == "gelu" and not model.config.is_decoder
    return known and hasattr(torch.ops.onednn, "qlinear_pointwise")
