"""An NLI model small enough to be made within a test: a real one of transformers, with a tokenizer of whole words."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import WordLevel
from transformers import BertConfig, BertForSequenceClassification, PreTrainedModel, PreTrainedTokenizerFast

LABELS = ("contradiction", "neutral", "entailment")
# What each topic is called, in English, Portuguese and Spanish. The last one is also known to the shipped heads.
NAMES = {
    "pets.dog": ("dog", "cachorro", "perro"),
    "place.pool": ("pool", "piscina", "alberca"),
    "food.quality": ("breakfast", "desjejum", "desayuno"),
}
TEMPLATES = {
    "en": "This comment is about {name}.",
    "pt": "Este comentário é sobre {name}.",
    "es": "Este comentario trata de {name}.",
}
POISON = "poison"  # a model may be made to answer with NaN where it reads this

_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
_FRAME = " ".join(TEMPLATES.values()).lower().replace("{name}", "").replace(".", " . ").split()
WORDS = [*_SPECIAL, *dict.fromkeys(_FRAME), *(word for names in NAMES.values() for word in names), POISON]
TAXONOMY = "version: 1\nparents: {pets: {en: P}, place: {en: L}, food: {en: F}}\ntopics:\n" + "".join(
    f"- {{id: {topic}, name: {{en: {en}, pt: {pt}, es: {es}}}, description: {{en: of {en}}}}}\n"
    for topic, (en, pt, es) in NAMES.items()
)


def tokenizer(tells_texts_apart: bool = True) -> PreTrainedTokenizerFast:
    """Whole words, in lower case; pairs as BERT has them, or without a number for each text."""
    made = Tokenizer(WordLevel({word: at for at, word in enumerate(WORDS)}, unk_token="[UNK]"))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        model_max_length=64, model_input_names=["input_ids", *["token_type_ids"] * tells_texts_apart, "attention_mask"],
    )  # fmt: skip


def word_matcher() -> BertForSequenceClassification:
    """Finds entailment where the premise holds the very word that the hypothesis names, else a contradiction.

    Its weights are set, not learnt. A token is one of the topics' words or any other (10 dimensions), and of the
    premise or the hypothesis (2). In the first layer each token looks at its like, and notes how many of them are the
    premise's; in the second, [CLS] looks at the word that the hypothesis names, and notes what that one has noted.
    """
    named = [word for names in NAMES.values() for word in names]
    other, premise, second, noted, told, width = 9, 10, 11, 12, 13, 16
    model = BertForSequenceClassification(BertConfig(
        vocab_size=len(WORDS), hidden_size=width, num_hidden_layers=2, num_attention_heads=1, intermediate_size=1,
        max_position_embeddings=64, num_labels=3, layer_norm_eps=1e6,
    ))  # fmt: skip
    for name, value in model.named_parameters():
        # With so large an epsilon, a norm of weight 1000 does nothing but take out the mean.
        torch.nn.init.constant_(value, 1000.0 if name.endswith("LayerNorm.weight") else 0.0)
    bert = model.bert
    words = bert.embeddings.word_embeddings.weight.data
    words[:, other] = 1.0
    for at, word in enumerate(named):
        words[WORDS.index(word)] = torch.eye(width)[at]
    bert.embeddings.token_type_embeddings.weight.data[:] = torch.eye(width)[[premise, second]]
    first, last = (layer.attention for layer in bert.encoder.layer)
    for at in range(other + 1):
        first.self.query.weight.data[at, at], first.self.key.weight.data[at, at] = 80.0, 1.0
    first.self.value.weight.data[noted, premise] = 1.0
    last.self.query.bias.data[0] = 80.0
    last.self.key.weight.data[0, [*range(len(named)), second]] = 1.0
    last.self.value.weight.data[told, noted] = 1.0
    for attention in (first, last):
        attention.output.dense.weight.data[:] = torch.eye(width)
    bert.pooler.dense.weight.data[0, told] = 10.0
    model.classifier.weight.data[:, 0] = torch.tensor([-4.0, 0.0, 4.0])
    return model.eval()


def saved(
    model: PreTrainedModel, folder: Path, labels: tuple[str, ...] = LABELS, tells_texts_apart: bool = True
) -> Path:
    """`model` with its tokenizer, as a Hugging Face folder."""
    model.config.id2label = dict(enumerate(labels))
    model.config.label2id = {label: at for at, label in enumerate(labels)}
    model.save_pretrained(folder)
    tokenizer(tells_texts_apart).save_pretrained(folder)
    return folder
