"""What our tensors are called in the published checkpoint."""

from __future__ import annotations

import re

import torch

RULES: tuple[tuple[str, str, tuple[tuple[str, str], ...]], ...] = (
    ("union_encoder.", "mm_extractor.beit3.", ()),
    ("prompt.", "", ()),
    ("sparse_prompt.", "text_hidden_fcs.0.", ()),
    ("words.", "text_feat_linear.", ()),
    (
        "steering.",
        "visual_model.image_encoder.trunk.blocks.",
        ((r"\.fusion\.(\d+)\.", r".\1.Space_Adapter."), (r"\.mlp\.(\d+)\.", r".\1.MLP_Adapter.")),
    ),
    ("decoder_fusion.", "visual_model.sam_mask_decoder.vlfusion_module.", ()),
    ("sam.no_memory_embedding", "visual_model.no_mem_embed", ()),
    (
        "sam.vision_encoder.backbone.",
        "visual_model.image_encoder.trunk.",
        (
            (r"patch_embed\.projection\.", "patch_embed.proj."), (r"\.layer_norm(\d)\.", r".norm\1."),
            (r"\.proj_in\.", ".layers.0."), (r"\.proj_out\.", ".layers.1."),
        ),
    ),
    ("sam.vision_encoder.neck.", "visual_model.image_encoder.neck.", ((r"convs\.(\d)\.", r"convs.\1.conv."),)),
    (
        "sam.mask_decoder.transformer.",
        "visual_model.sam_mask_decoder.transformer.",
        (
            (r"o_proj", "out_proj"), (r"layer_norm_final", "norm_final"), (r"layer_norm(\d)", r"norm\1"),
            (r"mlp\.proj_in", "mlp.layers.0"), (r"mlp\.proj_out", "mlp.layers.1"),
        ),
    ),
    (
        "sam.mask_decoder.",
        "visual_model.sam_mask_decoder.",
        (
            (r"\.layers\.0\.", ".layers.1."), (r"\.proj_in\.", ".layers.0."), (r"\.proj_out\.", ".layers.2."),
            (r"upscale_conv1", "output_upscaling.0"), (r"upscale_layer_norm", "output_upscaling.1"),
            (r"upscale_conv2", "output_upscaling.3"),
        ),
    ),
    (
        "sam.prompt_encoder.mask_embed.",
        "visual_model.sam_prompt_encoder.mask_downscaling.",
        (
            (r"conv1", "0"), (r"layer_norm1", "1"), (r"conv2", "3"), (r"layer_norm2", "4"), (r"conv3", "6"),
        ),
    ),
    (
        "sam.prompt_encoder.shared_embedding.positional_embedding",
        "visual_model.sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix", (),
    ),
    (
        "sam.shared_image_embedding.positional_embedding",
        "visual_model.sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix", (),
    ),
    ("sam.prompt_encoder.", "visual_model.sam_prompt_encoder.", ()),
)  # fmt: skip
"""Beginning of our name -> of theirs, and what is called otherwise in the rest; the first that fits."""

UNUSED = (
    "visual_model.memory_attention.",
    "visual_model.memory_encoder.",
    "visual_model.maskmem_tpos_enc",
    "visual_model.no_mem_pos_enc",
    "visual_model.no_obj_ptr",
    "visual_model.obj_ptr_",
    "visual_model.mask_downsample.",
    "mm_extractor.beit3.vision_embed.mask_token",
    "meo_linear.",
    "text2one_linear.",
)
"""Beginnings of published names that take no part for single images: SAM 2's memory, BEiT-3's pre-training, a loss."""

STACKED = "sam.prompt_encoder.point_embed.weight"
"""One table of ours that is published row by row."""


def published_names(name: str, shape: torch.Size) -> list[str]:
    """Names of the published tensors that make up one of ours: one, or the rows of a table."""
    if name == STACKED:
        return [f"visual_model.sam_prompt_encoder.point_embeddings.{row}.weight" for row in range(shape[0])]
    ours, theirs, changes = next(rule for rule in RULES if name.startswith(rule[0]))
    rest = "." + name.removeprefix(ours)
    for pattern, replacement in changes:
        rest = re.sub(pattern, replacement, rest)
    return [theirs + rest.removeprefix(".")]


def is_unused(name: str) -> bool:
    """Whether a published tensor takes no part here."""
    return name.startswith(UNUSED)
