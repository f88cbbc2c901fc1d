"""OpenSeg as a PyTorch module: proposals by learned queries, region features in a text space.

Backbone -> feature pyramid summed at stride 4 -> two heads. One head's features are attended by
learned queries, whose products with it are masks; the other's are pooled inside those masks and
projected to the text space. See "Scaling open-vocabulary image segmentation with image-level labels".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as functional
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

STRIDE = 4
"""Pixels of the image per cell of the feature grid."""

SHORTEST_SIDE = 16
"""Pixels; below, the coarsest level of the pyramid would be empty."""

MASK_EPSILON = 1e-3
"""Mask mass, in cells, below which a mean over the mask fades to zero instead of dividing by nothing."""

INPUT_MEAN, INPUT_SCALE = 0.5, 0.25

COLOURS, DEPTH_PLANES = 3, 2

NEAREST = 0.1
"""Metres; nearer readings count as this near."""

DEPTH_MEAN, DEPTH_SCALE = 1.0, 0.45
"""Of the logarithm of metres in rooms."""

MAX_LOGIT_SCALE = 60.0
"""Sharper softmaxes only fit noise."""


@dataclass(frozen=True)
class OpenSegConfig:
    """Size of the model; stored with its weights.

    Attributes:
        widths: channels of the stem (stride 2) and of the stages at strides 4, 8, 16 and 32.
        depths: residual blocks of the four stages.
        pyramid: channels of the pyramid and of the heads.
        head_depth: 3x3 convolutions of each head.
        queries: number of region proposals.
        attention_layers: stacked cross-attention blocks between queries and image, the paper's T; with 0 the learned
            queries make the masks as they are.
        attention_heads: of each block.
        text_width: length of a text vector.
        position_grid: rows and columns of the learned position map, stretched over any image.
        long_side: pixels to which an image's long side is brought; the size the model was trained at.
        region_share: how much of a cell's feature comes from the regions that cover it, the rest
            from the cell itself; chosen on validation images after training.
        depth: whether the model looks at depth, too, where an image has it.
    """

    widths: tuple[int, int, int, int, int] = (32, 64, 128, 192, 256)
    depths: tuple[int, int, int, int] = (2, 3, 2, 2)
    pyramid: int = 64
    head_depth: int = 2
    queries: int = 64
    attention_layers: int = 3
    attention_heads: int = 4
    text_width: int = 256
    position_grid: tuple[int, int] = (15, 20)
    long_side: int = 192
    region_share: float = 0.5
    depth: bool = False

    def working_size(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns, whole cells, to which an image of ``height`` x ``width`` pixels is resized."""
        scale = self.long_side / max(height, width) / STRIDE
        shortest = SHORTEST_SIDE // STRIDE
        return STRIDE * max(shortest, round(height * scale)), STRIDE * max(shortest, round(width * scale))


class OpenSegOutput(NamedTuple):
    """What the model says about B images, on a grid of h x w cells.

    Attributes:
        mask_logits: (B, N, h, w) of N overlapping proposals.
        regions: (B, N, D) unit-norm text-space feature of each proposal.
        cells: (B, h * w, C) semantic features of each cell, row by row; `OpenSeg.embed` takes them
            to the text space, which is much wider: training needs only a sample of them there.
    """

    mask_logits: torch.Tensor
    regions: torch.Tensor
    cells: torch.Tensor


class ConvNorm(nn.Module):
    """Convolution and batch normalisation, which `fold` merges into one convolution for inference."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, inputs, H, W) -> (B, outputs, H / stride, W / stride)."""
        out: torch.Tensor = self.norm(self.conv(x))
        return out

    def fold(self) -> None:
        """Merge the two layers; the module computes the same as in eval mode before."""
        if isinstance(self.norm, nn.BatchNorm2d):
            self.conv = fuse_conv_bn_eval(self.conv, self.norm)
            self.norm = nn.Identity()


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.first = ConvNorm(inputs, outputs, 3, stride)
        self.second = ConvNorm(outputs, outputs)
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else ConvNorm(inputs, outputs, 1, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, inputs, H, W) -> (B, outputs, H / stride, W / stride)."""
        return functional.relu(self.second(functional.relu(self.first(x))) + self.shortcut(x))


class CrossAttention(nn.Module):
    """Queries look at the image: multi-head attention and an MLP, each added to the queries."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query_norm, self.memory_norm, self.mlp_norm = (nn.LayerNorm(width) for _ in range(3))
        self.to_query = nn.Linear(width, width)
        self.to_key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, queries: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
        """Queries (B, N, C) attend to memory (B, P, C); returns (B, N, C)."""
        query = self._split(self.to_query(self.query_norm(queries)))
        key, value = (self._split(x) for x in self.to_key_value(self.memory_norm(memory)).chunk(2, dim=-1))
        # Written out: on a CPU the fused kernel's backward pass takes four times as long as these products.
        scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
        attended = scores.softmax(dim=-1).to(value.dtype) @ value
        queries = queries + self.out(attended.transpose(1, 2).flatten(2))
        updated: torch.Tensor = queries + self.mlp(self.mlp_norm(queries))
        return updated

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(*x.shape[:2], self.heads, -1).transpose(1, 2)


class Backbone(nn.Module):
    """Residual stages at strides 4, 8, 16, 32, brought to one width and summed at stride 4."""

    def __init__(self, config: OpenSegConfig) -> None:
        super().__init__()
        stem, *stages = config.widths
        planes = COLOURS + DEPTH_PLANES * config.depth
        self.stem = nn.ModuleList([ConvNorm(planes, stem, 3, 2), ConvNorm(stem, stem)])
        inputs = [stem, *stages[:-1]]
        self.stages = nn.ModuleList(
            nn.Sequential(ResidualBlock(i, o, 2), *(ResidualBlock(o, o) for _ in range(depth - 1)))
            for i, o, depth in zip(inputs, stages, config.depths, strict=True)
        )
        self.laterals = nn.ModuleList(nn.Conv2d(width, config.pyramid, 1) for width in stages)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 3 or 5, H, W) -> (B, pyramid, ceil(H / 4), ceil(W / 4))."""
        x = images
        for layer in self.stem:
            x = functional.relu(layer(x))
        levels = []
        for stage, lateral in zip(self.stages, self.laterals, strict=True):
            x = stage(x)
            levels.append(lateral(x))
        # From coarse to fine, so that each level is upsampled once and by two only.
        total: torch.Tensor = levels[-1]
        for level in reversed(levels[:-1]):
            total = level + functional.interpolate(total, level.shape[-2:], mode="bilinear", align_corners=False)
        return total


def depth_planes(depth: torch.Tensor) -> torch.Tensor:
    """Depth as the model takes it: two planes that may be averaged over pixels with and without a reading.

    Args:
        depth: (B, H, W) metres; what is not finite or not positive is no reading.

    Returns:
        (B, 2, H, W): the logarithm of the depth, whose slope is that of a surface at any distance, and 1; both 0
        without a reading.
    """
    read = depth.isfinite() & (depth > 0)
    distance = depth.where(read, 1.0).clamp(min=NEAREST).log()
    return torch.stack((distance, read.to(distance)), dim=1)


def make_head(config: OpenSegConfig) -> nn.Sequential:
    """A 1x1 convolution, then 3x3 ones; keeps the pyramid's width."""
    width = config.pyramid
    convolutions = [layer for _ in range(config.head_depth) for layer in (ConvNorm(width, width), nn.ReLU())]
    return nn.Sequential(nn.Conv2d(width, width, 1), *convolutions)


def pool_regions(masks: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    """Mean of ``features`` (B, P, C) inside each of the soft ``masks`` (B, N, P); (B, N, C)."""
    return masks @ features / (masks.sum(dim=-1, keepdim=True) + MASK_EPSILON)


def spread_regions(masks: torch.Tensor, regions: torch.Tensor) -> torch.Tensor:
    """Every cell gets the mean of the regions that cover it, weighted by their masks.

    Args:
        masks: (B, N, P) in 0..1.
        regions: (B, N, D).

    Returns:
        (B, P, D); near zero where no mask covers a cell.
    """
    return masks.transpose(1, 2) @ regions / (masks.sum(dim=1).unsqueeze(-1) + MASK_EPSILON)


class OpenSeg(nn.Module):
    """Images to region proposals and text-space features. See OpenSegConfig for its sizes."""

    def __init__(self, config: OpenSegConfig) -> None:
        super().__init__()
        self.config = config
        width = config.pyramid
        self.backbone = Backbone(config)
        self.mask_head = make_head(config)
        self.semantic_head = make_head(config)
        self.positions = nn.Parameter(0.02 * torch.randn(1, width, *config.position_grid))
        self.queries = nn.Parameter(torch.randn(1, config.queries, width))
        self.attention = nn.ModuleList(
            CrossAttention(width, config.attention_heads) for _ in range(config.attention_layers)
        )
        self.to_mask = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width))
        self.mask_bias = nn.Parameter(torch.tensor(-2.0))
        self.to_text = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, config.text_width))
        self.log_scale = nn.Parameter(torch.tensor(2.7))

    @property
    def logit_scale(self) -> torch.Tensor:
        """What cosines with text vectors are multiplied with before a softmax."""
        return self.log_scale.exp().clamp(max=MAX_LOGIT_SCALE)

    def forward(self, images: torch.Tensor) -> OpenSegOutput:
        """See what is in images.

        Args:
            images: (B, 3, H, W) float in 0..1, H and W at least 16; the five of a model with depth hold `depth_planes`
                behind the colours, zeros where there is no depth.
        """
        pyramid = self.backbone(self._scaled(images))
        height, width = pyramid.shape[-2:]
        positions = functional.interpolate(self.positions, (height, width), mode="bilinear", align_corners=False)
        grid = self.mask_head(pyramid) + positions
        # Queries read at half the resolution (a quarter of the cost); masks are drawn at the full one.
        memory = functional.avg_pool2d(grid, 2, ceil_mode=True).flatten(2).transpose(1, 2)
        queries = self.queries.expand(len(images), -1, -1)
        for block in self.attention:
            queries = block(queries, memory)
        mask_logits = self.to_mask(queries) @ grid.flatten(2) / self.config.pyramid**0.5 + self.mask_bias
        mask_logits = mask_logits.float()
        cells = self.semantic_head(pyramid).flatten(2).transpose(1, 2)
        regions = self.embed(pool_regions(mask_logits.sigmoid(), cells.float()))
        return OpenSegOutput(mask_logits.reshape(len(images), -1, height, width), regions, cells)

    def _scaled(self, images: torch.Tensor) -> torch.Tensor:
        colours = (images[:, :COLOURS] - INPUT_MEAN) / INPUT_SCALE
        if not self.config.depth:
            return colours
        distance, read = images[:, COLOURS:].chunk(2, dim=1)
        # Both are means over a few pixels: their quotient is that over those with a reading, which fades with these.
        distance = (distance / read.clamp(min=MASK_EPSILON) - DEPTH_MEAN) / DEPTH_SCALE * read
        return torch.cat((colours, distance, read), dim=1).contiguous(memory_format=torch.channels_last)

    def embed(self, features: torch.Tensor) -> torch.Tensor:
        """Semantic features (..., C) of cells or regions -> (..., D) float32 unit vectors in the text space."""
        return functional.normalize(self.to_text(features).float(), dim=-1)

    def dense_features(self, output: OpenSegOutput, region_share: float | None = None) -> torch.Tensor:
        """Features for a map: regions spread over their cells, blended with the cells' own.

        Returns:
            (B, D, h, w) of unit norm.
        """
        share = self.config.region_share if region_share is None else region_share
        spread = spread_regions(output.mask_logits.flatten(2).sigmoid(), output.regions)
        blend = functional.normalize(share * spread + (1 - share) * self.embed(output.cells), dim=-1)
        return blend.transpose(1, 2).reshape(len(blend), -1, *output.mask_logits.shape[-2:])

    def fold_norms(self) -> OpenSeg:
        """Merge every batch normalisation into its convolution; for inference only."""
        for module in self.modules():
            if isinstance(module, ConvNorm):
                module.fold()
        return self
