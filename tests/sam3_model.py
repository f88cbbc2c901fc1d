"""A random SAM 3 of a million numbers, saved as a folder like the published one. No network, no download."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

VOCABULARY, START, END = 514, 0, 1
GRID, PATCH = 4, 14


def tiny_tokenizer() -> Tokenizer:
    """A token for each byte, and others for those that end a word, between a start and an end, as CLIP's."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = ["<|startoftext|>", "<|endoftext|>", *letters, *(letter + "</w>" for letter in letters)]
    ids = {piece: index for index, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.BPE(ids, [], end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|startoftext|> $A <|endoftext|>", special_tokens=[("<|startoftext|>", START), ("<|endoftext|>", END)]
    )
    # What a file may carry along, and what must not reach the model.
    tokenizer.enable_truncation(8)
    tokenizer.enable_padding(length=32)
    return tokenizer


def tiny_config(hidden: int = 32, queries: int = 10) -> Any:
    from transformers import Sam3Config

    sizes = {"hidden_size": hidden, "num_attention_heads": 2, "intermediate_size": 2 * hidden}
    side = GRID * PATCH
    return Sam3Config(
        vision_config={
            "backbone_config": {
                "model_type": "sam3_vit_model",
                **sizes,
                "num_hidden_layers": 2,
                "image_size": side,
                "patch_size": PATCH,
                "window_size": GRID // 2,
                "global_attn_indexes": [1],
                "pretrain_image_size": side,
            },
            "fpn_hidden_size": hidden,
            "backbone_feature_sizes": [[4 * GRID] * 2, [2 * GRID] * 2, [GRID] * 2],
        },
        text_config={
            "model_type": "clip_text_model",
            **sizes,
            "vocab_size": VOCABULARY,
            "bos_token_id": START,
            "eos_token_id": END,
            "projection_dim": hidden,
            "num_hidden_layers": 2,
            "max_position_embeddings": 32,
            "hidden_act": "gelu",
        },
        geometry_encoder_config={"num_layers": 1, "roi_size": 3, **sizes},
        detr_encoder_config={"num_layers": 1, **sizes},
        detr_decoder_config={"num_layers": 2, "num_queries": queries, **sizes},
        mask_decoder_config={"hidden_size": hidden, "num_upsampling_stages": 3, "num_attention_heads": 2},
    )


def tiny_model(seed: int = 3) -> Any:
    """Weights so spread that prompts and queries clearly differ."""
    from transformers import Sam3Model

    torch.manual_seed(seed)
    model = Sam3Model(tiny_config()).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.copy_(torch.randn_like(parameter) * (2.0 / parameter[0].numel()) ** 0.5)
    return model


def save_tiny_model(folder: Path, seed: int = 3) -> Any:
    """Write the model and its tokenizer; returns the model."""
    model = tiny_model(seed)
    model.save_pretrained(folder)
    tiny_tokenizer().save(str(folder / "tokenizer.json"))
    return model
