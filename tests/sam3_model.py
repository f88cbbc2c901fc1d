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


def tiny_video_config() -> Any:
    """A width of 128 is the least that transformers' tracker takes, and 64 the only one of its memories.

    A random model is never as sure as the thresholds of the published one want for conditioning a track again.
    """
    from transformers import Sam3VideoConfig

    detector = tiny_config(hidden=128).to_dict()
    side = GRID * PATCH
    sizes = {"hidden_size": 128, "num_attention_heads": 2}
    memory = {"num_layers": 1, "hidden_size": 128, "num_attention_heads": 1, "feed_forward_hidden_size": 128}
    tracker = {
        "vision_config": detector["vision_config"],
        "prompt_encoder_config": {"hidden_size": 128, "image_size": side, "patch_size": PATCH},
        "mask_decoder_config": {**sizes, "mlp_dim": 128, "iou_head_hidden_dim": 128},
        "image_size": side,
        **{f"memory_attention_{name}": value for name, value in memory.items()},
        "memory_encoder_hidden_size": 128,
        "memory_encoder_output_channels": 64,
        "mask_downsampler_embed_dim": 128,
        "memory_fuser_embed_dim": 128,
        "memory_fuser_intermediate_dim": 128,
    }
    return Sam3VideoConfig(
        detector_config=detector,
        tracker_config=tracker,
        low_res_mask_size=4 * GRID,
        recondition_every_nth_frame=6,
        high_conf_thresh=0.1,
        high_iou_thresh=0.2,
    )


def tiny_model(seed: int = 3) -> Any:
    from transformers import Sam3Model

    return spread(Sam3Model, tiny_config(), seed)


def spread(kind: Any, config: Any, seed: int) -> Any:
    """A model with weights so spread that prompts and queries clearly differ."""
    torch.manual_seed(seed)
    model = kind(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.copy_(torch.randn_like(parameter) * (2.0 / parameter[0].numel()) ** 0.5)
    return model


def save_tiny_model(folder: Path, seed: int = 3) -> Any:
    """Write the model and its tokenizer; returns the model."""
    return _save(folder, tiny_model(seed))


def save_tiny_video_model(folder: Path, seed: int = 3) -> Any:
    """The same for a model of videos."""
    from transformers import Sam3VideoModel

    model = spread(Sam3VideoModel, tiny_video_config(), seed)
    with torch.no_grad():
        for name, parameter in model.tracker_model.memory_attention.named_parameters():
            # So spread, attention would see one memory and be blind to the loss of others.
            if name.endswith(("q_proj.weight", "k_proj.weight")):
                parameter.mul_(0.1)
    return _save(folder, model)


def _save(folder: Path, model: Any) -> Any:
    model.save_pretrained(folder)
    tiny_tokenizer().save(str(folder / "tokenizer.json"))
    return model
