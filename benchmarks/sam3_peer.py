"""The original SAM 3 for images as the peer, unmodified, from a checkout of https://github.com/facebookresearch/sam3.

It is not part of this package, and under the SAM License: it is only ever run here, beside ours, by who has fetched it.

It is built from its own parts with other sizes, on the CPU, for which it wasn't made: what it imports for videos,
training and GPUs is stood in for by bare modules, and so is torchvision, which would pool features under boxes: there
are none. timm has to be installed (``pip install --no-deps timm``).
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

import torch
from sam3_answers import Answers
from sam3_weights import PATCH, TOKENS, Inputs, Sizes

from ovseg_ros.errors import OvsegError

FILE = Path("sam3/model/sam3_image.py")
UNUSED_MODULES: Mapping[str, Mapping[str, Any]] = {
    "torchvision": {},
    "torchvision.ops": {"roi_align": lambda features, boxes, size: torch.zeros(0, features.shape[1], size, size)},
    "torchvision.ops.misc": {"FrozenBatchNorm2d": torch.nn.Identity},
    "torchvision.ops.roi_align": {"RoIAlign": None},
    "sam3.model.sam1_task_predictor": {"SAM3InteractiveImagePredictor": None},
    "sam3.perflib": {},
    "sam3.perflib.nms": {"nms_masks": None},
    "sam3.sam": {},
    "sam3.sam.transformer": {"RoPEAttention": None},
    "sam3.train": {},
    "sam3.train.data": {},
    "sam3.train.data.collator": {"BatchedDatapoint": None},
}
UNUSED_WEIGHTS = (
    "geometry_encoder.points_",
    "backbone.language_backbone.encoder.text_projection",
    "backbone.vision_backbone.trunk.blocks.",
)
"""What is for points, for the pooled text; and, of the blocks, tables that are computed."""

ATTENTION = {"cross_attn_image": "cross_attn", "out_proj": "o_proj"}
LAYERS = {
    **ATTENTION, "linear1": "mlp.fc1", "linear2": "mlp.fc2", "norm1": "layer_norm1", "norm2": "layer_norm2",
    "norm3": "layer_norm3",
}  # fmt: skip
MLP = {f"layers.{index}": f"layer{index + 1}" for index in range(3)}
NAMES: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "backbone.vision_backbone.trunk.": (
        "vision_encoder.backbone.",
        {
            "pos_embed": "embeddings.position_embeddings", "patch_embed.proj": "embeddings.patch_embeddings.projection",
            "ln_pre": "layer_norm", "blocks": "layers", "attn.proj": "attention.o_proj", "attn.": "attention.",
            "norm1": "layer_norm1", "norm2": "layer_norm2",
        },
    ),
    "backbone.vision_backbone.convs.": (
        "vision_encoder.neck.fpn_layers.",
        {
            "dconv_2x2_1": "scale_layers.2", "dconv_2x2_0": "scale_layers.0", "dconv_2x2": "scale_layers.0",
            "conv_1x1": "proj1", "conv_3x3": "proj2",
        },
    ),
    "backbone.language_backbone.encoder.": (
        "text_encoder.text_model.",
        {
            "token_embedding": "embeddings.token_embedding",
            "positional_embedding": "embeddings.position_embedding.weight", "ln_final": "final_layer_norm",
            "transformer.resblocks": "encoder.layers", "attn.": "self_attn.", "ln_1": "layer_norm1",
            "ln_2": "layer_norm2", "c_fc": "fc1", "c_proj": "fc2",
        },
    ),
    "backbone.language_backbone.resizer.": ("text_projection.", {}),
    "geometry_encoder.encode.": ("geometry_encoder.layers.", LAYERS),
    "geometry_encoder.": (
        "geometry_encoder.",
        {"img_pre_norm": "vision_layer_norm", "encode_norm": "output_layer_norm", "norm.": "prompt_layer_norm."},
    ),
    "transformer.encoder.": ("detr_encoder.", LAYERS),
    "transformer.decoder.layers.": (
        "detr_decoder.layers.",
        {
            "catext_norm": "text_cross_attn_layer_norm", "ca_text": "text_cross_attn",
            "cross_attn": "vision_cross_attn", "out_proj": "o_proj", "linear1": "mlp.fc1", "linear2": "mlp.fc2",
            "norm1": "vision_cross_attn_layer_norm", "norm2": "self_attn_layer_norm", "norm3": "mlp_layer_norm",
        },
    ),
    "transformer.decoder.": (
        "detr_decoder.",
        {
            **MLP, "presence_token_head": "presence_head", "presence_token_out_norm": "presence_layer_norm",
            "bbox_embed": "box_head", "boxRPB": "box_rpb", "norm.": "output_layer_norm.",
        },
    ),
    "dot_prod_scoring.": (
        "dot_product_scoring.",
        {
            **MLP, "prompt_mlp.out_norm": "text_mlp_out_norm", "prompt_mlp": "text_mlp", "prompt_proj": "text_proj",
            "hs_proj": "query_proj",
        },
    ),
    "segmentation_head.": (
        "mask_decoder.",
        {
            "mask_predictor.mask_embed": "mask_embedder", "instance_seg_head": "instance_projection",
            "semantic_seg_head": "semantic_projection", "cross_attend_prompt": "prompt_cross_attn",
            "cross_attn_norm": "prompt_cross_attn_norm", "out_proj": "o_proj",
        },
    ),
}  # fmt: skip
"""Where their tensors are in transformers: what the name begins with, and what is called otherwise in the rest."""


class PeerModel:
    """Their image model with the weights of ours, on the CPU in float32.

    Args:
        checkout: of their repository.
        sizes: of the model.
        weights: of a ``Sam3Model`` of these sizes, under its names.

    Raises:
        OvsegError: the checkout is none, or timm is missing.
    """

    def __init__(self, checkout: Path, sizes: Sizes, weights: Mapping[str, torch.Tensor]) -> None:
        check_checkout(checkout)
        self._model = _build(checkout, sizes)
        state = {name: _from_ours(name, value, weights) for name, value in self._model.state_dict().items()}
        self._model.load_state_dict(state)
        self._model.eval()

    @torch.inference_mode()
    def __call__(self, inputs: Inputs) -> Answers:
        """What they say to P prompts without boxes."""
        count = len(inputs.ids)
        self._model.backbone.language_backbone.tokenizer = lambda *_, **__: inputs.ids
        # Their scale of boxes goes through memory that only a machine with a GPU has.
        with mock.patch.object(torch.Tensor, "pin_memory", lambda tensor: tensor):
            seen = self._model.backbone.forward_image(inputs.rgb.permute(2, 0, 1)[None] / 127.5 - 1)
            seen |= self._model.backbone.forward_text(["prompt"] * count, device="cpu")
            out = self._model.forward_grounding(
                backbone_out=seen,
                find_input=SimpleNamespace(text_ids=torch.arange(count), img_ids=torch.zeros(count, dtype=torch.int64)),
                find_target=None,
                geometric_prompt=self._model._get_dummy_prompt(count),
            )
        presence = out["presence_logit_dec"].sigmoid()
        return Answers(
            scores=out["pred_logits"].squeeze(-1).sigmoid() * presence,
            presence=presence.squeeze(-1),
            masks=out["pred_masks"].sigmoid(),
            dense=out["semantic_seg"][:, 0].sigmoid(),
        )


def check_checkout(checkout: Path) -> None:
    """Raise OvsegError unless the folder holds what it should, and what it needs is there."""
    if not (checkout / FILE).is_file():
        raise OvsegError(
            f"{checkout} has no {FILE}: clone https://github.com/facebookresearch/sam3 and name its folder"
        )
    if importlib.util.find_spec("timm") is None:
        raise OvsegError("the original needs timm: pip install --no-deps timm")


def _build(checkout: Path, sizes: Sizes) -> Any:
    """As `build_sam3_image_model` of their model_builder.py does, in other sizes and without its CUDA tables."""
    parts = _load(checkout)
    hidden, heads = sizes.hidden, sizes.heads

    def attention(**more: Any) -> Any:
        return parts.model_misc.MultiheadAttentionWrapper(num_heads=heads, embed_dim=hidden, **more)

    def layer(first: bool, **more: Any) -> Any:
        return parts.encoder.TransformerEncoderLayer(
            activation="relu", d_model=hidden, dim_feedforward=2 * hidden, dropout=0.1, pre_norm=True,
            self_attention=attention(batch_first=first), cross_attention=attention(batch_first=first),
            pos_enc_at_cross_attn_queries=False, **more,
        )  # fmt: skip

    def positions() -> Any:
        return parts.position_encoding.PositionEmbeddingSine(num_pos_feats=hidden, normalize=True)

    vit = parts.vitdet.ViT(
        img_size=sizes.side, pretrain_img_size=PATCH * sizes.pretrained, patch_size=PATCH, embed_dim=sizes.width,
        depth=sizes.depth, num_heads=heads, mlp_ratio=2.0, norm_layer="LayerNorm", qkv_bias=True, use_abs_pos=True,
        tile_abs_pos=True, global_att_blocks=tuple(range(1, sizes.depth, 2)), rel_pos_blocks=(), use_rope=True,
        use_interp_rope=True, window_size=sizes.window, pretrain_use_cls_token=True, retain_cls_token=False,
        ln_pre=True, ln_post=False, return_interm_layers=False, bias_patch_embed=False,
    )  # fmt: skip
    neck = parts.necks.Sam3DualViTDetNeck(
        position_encoding=positions(), d_model=hidden, scale_factors=[4.0, 2.0, 1.0, 0.5], trunk=vit
    )
    text = parts.text_encoder_ve.VETextEncoder(
        d_model=hidden, tokenizer=None, width=sizes.text_width, heads=heads, layers=sizes.text_depth,
        context_length=TOKENS, vocab_size=sizes.tokens,
    )  # fmt: skip
    encoder = parts.encoder.TransformerEncoderFusion(
        layer=layer(True, pos_enc_at_attn=True, pos_enc_at_cross_attn_keys=False), num_layers=sizes.layers,
        d_model=hidden, num_feature_levels=1, add_pooled_text_to_img_feat=False, pool_text_with_mask=True,
    )  # fmt: skip
    decoder = parts.decoder.TransformerDecoder(
        layer=parts.decoder.TransformerDecoderLayer(
            activation="relu", d_model=hidden, dim_feedforward=2 * hidden, dropout=0.1, cross_attention=attention(),
            n_heads=heads, use_text_cross_attention=True,
        ),
        num_layers=sizes.layers, num_queries=sizes.queries, return_intermediate=True, box_refine=True,
        num_o2m_queries=0, dac=True, boxRPB="log", d_model=hidden, frozen=False, interaction_layer=None,
        dac_use_selfatt_ln=True, presence_token=True,
    )  # fmt: skip
    text_mlp = parts.model_misc.MLP(
        hidden, 2 * hidden, hidden, 2, dropout=0.1, residual=True, out_norm=torch.nn.LayerNorm(hidden)
    )
    head = parts.maskformer_segmentation.UniversalSegmentationHead(
        hidden_dim=hidden, upsampling_stages=3, aux_masks=False, cross_attend_prompt=attention(),
        pixel_decoder=parts.maskformer_segmentation.PixelDecoder(
            num_upsampling_stages=3, interpolation_mode="nearest", hidden_dim=hidden
        ),
    )  # fmt: skip
    geometry = parts.geometry_encoders.SequenceGeometryEncoder(
        pos_enc=positions(), encode_boxes_as_points=False, points_direct_project=True, points_pool=True,
        points_pos_enc=True, boxes_direct_project=True, boxes_pool=True, boxes_pos_enc=True, d_model=hidden,
        num_layers=sizes.layers, layer=layer(False, pos_enc_at_attn=False, pos_enc_at_cross_attn_keys=True),
    )  # fmt: skip
    return parts.sam3_image.Sam3Image(
        backbone=parts.vl_combiner.SAM3VLBackbone(visual=neck, text=text, scalp=1),
        transformer=parts.model_misc.TransformerWrapper(encoder=encoder, decoder=decoder, d_model=hidden),
        input_geometry_encoder=geometry,
        segmentation_head=head,
        dot_prod_scoring=parts.model_misc.DotProductScoring(hidden, hidden, prompt_mlp=text_mlp),
        use_instance_query=False,
    )


def _load(checkout: Path) -> SimpleNamespace:
    """Their modules, past the ``__init__`` of packages that want everything."""
    stood_in = {name: ModuleType(name) for name in ("timm", "sam3", "sam3.model", *UNUSED_MODULES)}
    spec = importlib.util.find_spec("timm")
    assert spec is not None
    stood_in["timm"].__path__ = list(spec.submodule_search_locations or ())
    for name, content in UNUSED_MODULES.items():
        vars(stood_in[name]).update(content)
    stood_in["torchvision"].ops = stood_in["torchvision.ops"]  # type: ignore[attr-defined]
    for name in ("sam3", "sam3.model"):
        stood_in[name].__path__ = [str(checkout.resolve() / name.replace(".", "/"))]
    names = (
        "vitdet", "necks", "position_encoding", "text_encoder_ve", "vl_combiner", "encoder", "decoder", "model_misc",
        "maskformer_segmentation", "geometry_encoders", "sam3_image",
    )  # fmt: skip
    with mock.patch.dict(sys.modules, stood_in):
        return SimpleNamespace(**{name: importlib.import_module(f"sam3.model.{name}") for name in names})


def _from_ours(name: str, value: torch.Tensor, weights: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """What their tensor ``name`` is in our weights; ``value`` itself if nothing compared depends on it."""
    prefix = next(prefix for prefix in NAMES if name.startswith(prefix))
    begin, renamed = NAMES[prefix]
    longest_first = "|".join(map(re.escape, sorted(renamed, key=len, reverse=True)))
    rest = name.removeprefix(prefix)
    if renamed:
        rest = re.sub(rf"(?<!\w)({longest_first})", lambda found: renamed[found[0]], rest)
    ours = begin + rest
    if rest == "embeddings.position_embeddings":
        # Theirs begins with the place of a class token, which they drop.
        return torch.cat((torch.zeros_like(value[:, :1]), weights[ours]), dim=1)
    for joint, apart in (("qkv.", "_proj."), ("in_proj_", "_proj.")):
        if joint in ours:
            return torch.cat([weights[ours.replace(joint, letter + apart)] for letter in "qkv"])
    if ours not in weights:
        if not name.startswith(UNUSED_WEIGHTS):
            raise KeyError(f"{name} has no counterpart {ours}")
        return value
    return weights[ours]
