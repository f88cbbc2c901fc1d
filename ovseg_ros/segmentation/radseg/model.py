"""RADIO's parts from a checkpoint: sizes from the tensors, names from its own list of teachers."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import torch
from torch import nn

from ovseg_ros.errors import OvsegError
from ovseg_ros.segmentation.radseg.attention import SelfCorrelatingAttention
from ovseg_ros.segmentation.radseg.backbone import Backbone, BackboneConfig, Block
from ovseg_ros.segmentation.radseg.checkpoint import Checkpoint
from ovseg_ros.segmentation.radseg.language_head import TeacherHead

HEADS = {"tiny": 3, "small": 6, "base": 12, "large": 16, "so400m": 16, "huge": 16, "giant": 24}
"""Of timm's transformers, by what their names say."""

UNDERSTOOD = {
    "embed_dim", "depth", "num_heads", "mlp_ratio", "patch_size", "img_size", "init_values", "reg_tokens",
    "no_embed_class", "weight_init", "scaled_ln",
}  # fmt: skip
"""Keyword arguments of a model whose effect is in its tensors, or looked after here."""

UNUSED = (
    r"base_model\.reg_token$",  # timm's registers, which the patch generator's replace
    r"summary_idxs$",  # which class tokens make a summary
    r"_intermediate_feature_normalizer\.",  # for features of inner blocks
    r"_heads\.",  # summaries in other teachers' spaces
    r"_feature_projections\.",  # patch features in teachers' spaces
)
"""What a checkpoint holds beside what RADSeg needs."""

LANGUAGE = "siglip2"
SUMMARY, FEATURES = "_heads", "_feature_projections"
"""Where a checkpoint keeps its heads for summaries and for patch features."""


@dataclass(frozen=True)
class Teacher:
    """A model that RADIO learnt from: its ``name``, place in the list, and ``model``, where the checkpoint says it."""

    name: str
    index: int
    model: str


def teachers(checkpoint: Checkpoint) -> list[Teacher]:
    """Whom RADIO learnt from, as the checkpoint lists them."""
    entries = enumerate(checkpoint.arguments["teachers"])
    return [Teacher(str(entry.get("name")), index, str(entry.get("model", ""))) for index, entry in entries]


def language_teacher(checkpoint: Checkpoint) -> Teacher:
    """The SigLIP2 that this checkpoint has a summary head for.

    Raises:
        OvsegError: if it has none.
    """
    known = teachers(checkpoint)
    for teacher in known:
        named = teacher.name == LANGUAGE or teacher.name.startswith(f"{LANGUAGE}-")
        if named and _head_prefix(checkpoint, teacher, SUMMARY):
            return teacher
    names = ", ".join(teacher.name for teacher in known) or "none"
    raise OvsegError(
        f"{checkpoint.path} has no {LANGUAGE} head (its teachers: {names}), so it knows no words: "
        "use C-RADIOv3 or C-RADIOv4 weights with all adaptors, not RADIOv2.5 and not a backbone alone"
    )


def sam_teacher(checkpoint: Checkpoint) -> Teacher:
    """The SAM that this checkpoint has a feature head for.

    Raises:
        OvsegError: if it has none.
    """
    for teacher in teachers(checkpoint):
        if teacher.name == "sam" and _head_prefix(checkpoint, teacher, FEATURES):
            return teacher
    raise OvsegError(
        f"{checkpoint.path} has no sam head, which `refine` needs: use C-RADIOv3 weights, or refine: false"
    )


def build_head(checkpoint: Checkpoint, teacher: Teacher, kind: str) -> TeacherHead:
    """A teacher's head, ``kind`` SUMMARY or FEATURES.

    Raises:
        OvsegError: if it isn't there or not an MLP of version 2.
    """
    prefix = _head_prefix(checkpoint, teacher, kind) or f"{kind}.{teacher.name}."
    hidden, inputs = checkpoint.take(prefix + "fc1.weight").shape
    outputs = len(checkpoint.take(prefix + "final.2.bias"))
    blocks = checkpoint.count(re.escape(prefix) + r"blocks\.(\d+)\.")
    head = TeacherHead(inputs, hidden, outputs, blocks)
    _fill(head, checkpoint, {name: prefix + name for name in head.state_dict()})
    checkpoint.check_taken(prefix)
    return head.eval()


def build_backbone(checkpoint: Checkpoint) -> Backbone:
    """The transformer in float32 on the CPU, input normalisation and LayerScale in its weights.

    Raises:
        OvsegError: if tensors are missing, don't fit together, or have no place here.
    """
    config = _config(checkpoint)
    with torch.device("meta"):
        backbone = Backbone(config)
    # Nothing is initialised only to be overwritten: for ViT-H that takes longer than reading the file.
    backbone.to_empty(device="cpu")
    _fill_input(backbone, checkpoint)
    scaled_norms = bool(_model_arguments(checkpoint).get("scaled_ln"))
    for i, block in enumerate(backbone.blocks):
        prefix = f"base_model.blocks.{i}."
        assert isinstance(block, Block)
        scales = [_layer_scale(checkpoint, prefix + name, config.width) for name in ("ls1", "ls2")]
        names = {name: prefix + re.sub(r"^fc", "mlp.fc", name) for name in block.state_dict() if name != "attn.scale"}
        _fill(block, checkpoint, names)
        with torch.no_grad():
            if isinstance(block.attn, SelfCorrelatingAttention):
                block.attn.scale.copy_(scales[0])
            else:
                _scale_outputs(block.attn.proj, scales[0])
            _scale_outputs(block.fc2, scales[1])
            if scaled_norms:
                for norm in (block.norm1, block.norm2):
                    _scale_outputs(norm, torch.tensor((i + 1) ** -0.5))
    if checkpoint.has("_feature_normalizer.mean"):
        width = config.width
        backbone.normalise_features(
            checkpoint.take("_feature_normalizer.mean", width), checkpoint.take("_feature_normalizer.tx", width, width)
        )
    checkpoint.check_taken("", *UNUSED)
    return backbone.eval()


def _config(checkpoint: Checkpoint) -> BackboneConfig:
    arguments = _model_arguments(checkpoint)
    unknown = sorted(arguments.keys() - UNDERSTOOD)
    if unknown:
        raise OvsegError(
            f"{checkpoint.path} is of a model with {', '.join(unknown)}, which isn't known here: "
            "use a released C-RADIOv3 or C-RADIOv4 checkpoint"
        )
    width, inputs = checkpoint.take("base_model.patch_generator.embedder.weight").shape
    model = str(checkpoint.arguments.get("model", ""))
    heads = arguments.get("num_heads") or next((HEADS[size] for size in HEADS if size in model), None)
    if not isinstance(heads, int) or heads < 1 or width % heads:
        raise OvsegError(
            f"{checkpoint.path} is of the model {model!r}, whose number of attention heads isn't known here: "
            "use a released C-RADIOv3 or C-RADIOv4 checkpoint"
        )
    return BackboneConfig(
        width=width,
        depth=checkpoint.count(r"base_model\.blocks\.(\d+)\."),
        heads=heads,
        hidden=len(checkpoint.take("base_model.blocks.0.mlp.fc1.bias")),
        patch=math.isqrt(inputs // 3),
        prefix=len(checkpoint.take("base_model.patch_generator.cls_token.token")),
        positions=math.isqrt(checkpoint.take("base_model.patch_generator.pos_embed").shape[1]),
    )


def _model_arguments(checkpoint: Checkpoint) -> dict[str, object]:
    return dict(checkpoint.arguments.get("model_kwargs") or {})


def _fill_input(backbone: Backbone, checkpoint: Checkpoint) -> None:
    config, prefix = backbone.config, "base_model.patch_generator."
    mean, deviation = (
        checkpoint.take(f"input_conditioner.{name}", 3, 1, 1).view(3, 1) for name in ("norm_mean", "norm_std")
    )
    weight = checkpoint.take(prefix + "embedder.weight", config.width, 3 * config.patch**2)
    weight = weight.view(config.width, 3, -1) / deviation
    bias = -(weight * mean).sum(dim=(1, 2))
    if checkpoint.has(prefix + "embedder.bias"):
        bias += checkpoint.take(prefix + "embedder.bias", config.width)
    positions = checkpoint.take(prefix + "pos_embed", 1, config.positions**2, config.width)
    with torch.no_grad():
        backbone.embedder.weight.copy_(weight.flatten(1))
        backbone.embedder.bias.copy_(bias)
        backbone.position_table.copy_(positions.view_as(backbone.position_table))
        backbone.prefix.copy_(checkpoint.take(prefix + "cls_token.token", config.prefix, config.width))


def _layer_scale(checkpoint: Checkpoint, name: str, width: int) -> torch.Tensor:
    for spelling in ("grandma", "gamma"):
        if checkpoint.has(f"{name}.{spelling}"):
            return checkpoint.take(f"{name}.{spelling}", width)
    return torch.ones(width)


def _scale_outputs(layer: nn.Linear | nn.LayerNorm, scale: torch.Tensor) -> None:
    layer.weight.mul_(scale.view(-1, *[1] * (layer.weight.dim() - 1)))
    layer.bias.mul_(scale)


def _fill(module: nn.Module, checkpoint: Checkpoint, names: dict[str, str]) -> None:
    state = module.state_dict()
    with torch.no_grad():
        for name, stored in names.items():
            state[name].copy_(checkpoint.take(stored, *state[name].shape))


def _head_prefix(checkpoint: Checkpoint, teacher: Teacher, kind: str) -> str | None:
    prefixes = (f"{kind}.{teacher.name}.", f"{kind}.{teacher.index}.")
    return next((prefix for prefix in prefixes if checkpoint.has(prefix + "fc1.weight")), None)
