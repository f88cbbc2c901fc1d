"""Small random models in the layouts of the real ones, for the tests of RADSeg."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import yaml
from tokenizers import Tokenizer, decoders, models, normalizers, trainers

from ovseg_ros.segmentation.radseg.templates import IMAGENET_TEMPLATES

PADDING, END, LENGTH = 0, 1, 64
VOCABULARY = 200
CHECKPOINT = Path(__file__).parent / "data" / "radseg" / "checkpoint.pth.tar"
TEXT_WIDTH = 256
"""What the language head of CHECKPOINT gives."""


def small_siglip2(width: int) -> Any:
    """A small random SigLIP2, image tower and all, whose embeddings have ``width`` numbers."""
    from transformers import Siglip2Config, Siglip2Model

    torch.manual_seed(0)
    layers = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4}
    text = {"vocab_size": VOCABULARY, "num_hidden_layers": 2, "projection_size": width, "eos_token_id": END}
    image = {"num_hidden_layers": 1, "num_patches": 16, "patch_size": 4}
    model = Siglip2Model(Siglip2Config(text_config=layers | text, vision_config=layers | image)).eval()
    # Strong enough that different texts get clearly different vectors of different lengths.
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=1.0 if "embedding" in name else 2 * parameter.shape[1] ** -0.5)
    return model


def small_tokenizer() -> Tokenizer:
    """Pieces learned from the templates, put together as Gemma's are."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse()])
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"],
        show_progress=False,
    )
    tokenizer.train_from_iterator([*IMAGENET_TEMPLATES, "abcdefghijklmnopqrstuvwxyz 0123456789"], trainer)
    # What a file may carry along, and what must not reach the tower.
    tokenizer.enable_padding(direction="left", length=LENGTH)
    tokenizer.enable_truncation(8)
    return tokenizer


def write_siglip2(folder: Path, width: int) -> Path:
    """The folder, with a small SigLIP2 in it."""
    small_siglip2(width).save_pretrained(folder)
    small_tokenizer().save(str(folder / "tokenizer.json"))
    return folder


def write_settings(folder: Path, **settings: object) -> Path:
    """A settings file for OVSEG_RADSEG_CONFIG with the small checkpoint and a small SigLIP2, which it makes."""
    siglip2 = write_siglip2(folder / "siglip2", TEXT_WIDTH)
    content = {"weights": str(CHECKPOINT), "text_model": str(siglip2), "templates": False, "crop": 112, "stride": 64}
    path = folder / "radseg.yaml"
    path.write_text(yaml.safe_dump(content | settings), encoding="utf-8")
    return path
