"""The state of a training run and its steps."""

from __future__ import annotations

import copy
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from ovseg_ros.errors import OvsegError
from ovseg_ros.segmentation.openseg.model import COLOURS, DEPTH_PLANES, OpenSeg, spread_regions
from ovseg_ros.segmentation.openseg.weights_file import load_weights
from ovseg_ros.training import losses
from ovseg_ros.training.batches import Batch, Settings, step_generator
from ovseg_ros.training.words import TrainingWords

MAX_GRADIENT_NORM = 1.0
FIRST_LAYER = "backbone.stem.0.conv.weight"
AVERAGE_DELAY = 10
"""At the start the running average would be mostly the random initial weights: it follows faster then."""


def compute_losses(
    model: OpenSeg, batch: Batch, words: TrainingWords, weights: torch.Tensor, settings: Settings, step: int
) -> dict[str, torch.Tensor]:
    """The loss terms of one step by name, weighted; their sum is what is minimised."""
    seed = step_generator(settings, step, 1)
    texts = words.draw(seed)
    output = model(batch.images)
    scale = model.logit_scale
    masks = output.mask_logits.flatten(2).sigmoid()
    weigh = settings.losses
    terms: dict[str, torch.Tensor] = {}
    if weigh.mask or weigh.region:
        truth = losses.segment_masks(batch.segments, batch.labels)
        terms["mask"], best = losses.mask_loss(masks, truth)
        if weigh.region:
            matched = losses.matched_regions(output.regions, best)
            terms["region"] = losses.classification_loss(scale * matched @ texts.T, truth.labels)
    if weigh.cell or weigh.spread:
        count = min(settings.cells, batch.labels.shape[1])
        drawn = losses.sample_cells(batch.labels, weights, count, seed)
        labels = batch.labels.gather(1, drawn)
        cells = output.cells.gather(1, drawn[..., None].expand(-1, -1, output.cells.shape[-1]))
        terms["cell"] = losses.classification_loss(scale * model.embed(cells) @ texts.T, labels)
        covering = masks.gather(2, drawn[:, None].expand(-1, masks.shape[1], -1))
        spread = spread_regions(covering, output.regions @ texts.T)
        terms["spread"] = losses.classification_loss(scale * spread, labels)
    if weigh.grounding:
        captions = batch.captions[:, : words.classes]
        captions = captions & (torch.rand(captions.shape, generator=seed) < settings.caption_keep)
        over_batch = _scale(settings.caption_temperature, scale)
        over_regions = _scale(settings.attention_temperature, over_batch)
        named = texts[: words.classes]
        terms["grounding"] = losses.grounding_loss(output.regions, named, captions, over_batch, over_regions)
    return {name: weight * terms[name] for name, weight in asdict(weigh).items() if weight}


def _scale(temperature: float | None, otherwise: torch.Tensor) -> torch.Tensor:
    return otherwise if temperature is None else torch.as_tensor(1 / temperature)


class Trainer:
    """The state of a run: model, running average, optimiser, step; saved and resumed as one file."""

    def __init__(self, settings: Settings, words: TrainingWords, weights: torch.Tensor, autocast: bool) -> None:
        torch.manual_seed(settings.seed)
        self.settings, self.words, self.weights, self.autocast = settings, words, weights, autocast
        self.model = OpenSeg(settings.model).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.model).eval().requires_grad_(False)
        decayed = [value for value in self.model.parameters() if value.dim() > 1]
        others = [value for value in self.model.parameters() if value.dim() <= 1]
        groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate)
        self.step = 0

    def train_step(self, batch: Batch) -> dict[str, float]:
        """One optimiser step; returns the loss terms."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.rate(self.step)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.autocast):
            terms = compute_losses(self.model, batch, self.words, self.weights, self.settings, self.step)
        total = torch.stack(list(terms.values())).sum()
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), MAX_GRADIENT_NORM)
        self.optimizer.step()
        self.step += 1
        self._update_average()
        return {name: float(value.detach()) for name, value in terms.items()}

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = min(self.settings.average, self.step / (self.step + AVERAGE_DELAY))
        averaged, current = list(self.average.parameters()), list(self.model.parameters())
        torch._foreach_lerp_(averaged, current, 1 - decay)
        for target, source in zip(self.average.buffers(), self.model.buffers(), strict=True):
            target.copy_(source)

    def save(self, path: Path) -> None:
        """Write a checkpoint; the file appears at once and whole."""
        state = {
            "settings": asdict(self.settings),
            "step": self.step,
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "weights": self.weights,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        torch.save(state, temporary)
        temporary.replace(path)

    def start_from(self, weights: Path) -> None:
        """Take the weights of a finished run as the first ones of this.

        That run may have worked at another resolution. Where only this one looks at depth, depth counts for nothing at
        first; where only that one did, the model goes on as it was for images without depth.

        Raises:
            OvsegError: the file can't be used, or its model has other sizes.
        """
        model, card = load_weights(weights)
        wanted = self.settings.model
        like = replace(card.config, region_share=wanted.region_share, long_side=wanted.long_side, depth=wanted.depth)
        state = model.state_dict()
        if wanted.depth != card.config.depth:
            colours = state[FIRST_LAYER][:, :COLOURS]
            unread = colours.new_zeros(len(colours), DEPTH_PLANES * wanted.depth, *colours.shape[2:])
            state[FIRST_LAYER] = torch.cat((colours, unread), dim=1)
        if like != wanted:
            raise OvsegError(f"{weights} holds a model of other sizes than this run's: start without --init")
        for target in (self.model, self.average):
            target.load_state_dict(state)

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what `save` wrote.

        Raises:
            OvsegError: if it was another run.
        """
        if state["settings"] != asdict(self.settings):
            raise OvsegError(
                "the checkpoint is of a run with other settings, or of another version: drop --resume or use the same"
            )
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.weights, self.step = state["weights"], int(state["step"])
