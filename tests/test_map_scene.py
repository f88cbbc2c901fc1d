"""Things of small maps, ready to be referred to, in a language of orthogonal words."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from word_space import SPACE, word

from ovseg_ros.geometry import pack_keys
from ovseg_ros.mapping import MappingConfig, SemanticMap
from ovseg_ros.referring import MapScene, Status, parse_request, resolve
from ovseg_ros.vocabulary import Vocabulary

VOXEL = 0.1
DIM, BRIGHT = (110, 110, 110), (235, 235, 235)


def block(start: tuple[int, int, int], size: tuple[int, int, int]) -> torch.Tensor:
    return torch.cartesian_prod(*(torch.arange(s, s + n) for s, n in zip(start, size, strict=True)))


def scene_of(*things: tuple[str, torch.Tensor, tuple[int, int, int]]) -> MapScene:
    voxels = torch.cat([voxels for _, voxels, _ in things])
    columns = {
        "keys": pack_keys(voxels),
        "weights": torch.ones(len(voxels)),
        "colours": torch.cat([torch.tensor(colour).float().expand(len(part), 3) for _, part, colour in things]),
        "features": torch.cat([word(name).expand(len(part), -1) for name, part, _ in things]),
        "last_seen": torch.ones(len(voxels), dtype=torch.int64),
    }
    vocabulary = Vocabulary.from_names(["chair", "table", "wall"])
    config = MappingConfig(voxel_size=VOXEL)
    return MapScene(
        SemanticMap.from_columns(columns, config=config, space=SPACE.id, vocabulary=vocabulary, revision=1), SPACE
    )


def answer(scene: MapScene, sentence: str) -> tuple[Status, list[str]]:
    result = resolve(parse_request(sentence), scene)
    return result.status, [scene.things[candidate.index].label for candidate in result.candidates]


WALL = ("wall", block((-20, 30, 0), (40, 1, 25)), BRIGHT)
CHAIR = ("chair", block((-10, 24, 0), (5, 5, 9)), DIM)
TABLE = ("table", block((10, 0, 0), (10, 6, 8)), DIM)


def test_a_wall_is_found_by_its_name_and_is_no_thing() -> None:
    scene = scene_of(WALL, CHAIR, TABLE)
    assert [thing.label for thing in scene.things] == ["chair", "table", "wall"]
    assert scene.is_structure.tolist() == [False, False, True]
    assert answer(scene, "the chair against the wall") == (Status.FOUND, ["chair"])
    assert answer(scene, "the table against the wall") == (Status.NOT_FOUND, [])
    assert answer(scene, "the wall") == (Status.FOUND, ["wall"])
    assert answer(scene, "the largest thing")[1][0] == "table"
    assert answer(scene, "the white thing") == (Status.NOT_FOUND, [])
    assert scene.fit("table")[2] == 0.0


def test_a_thing_knows_what_it_stands_or_hangs_on() -> None:
    on_top = ("chair", block((12, 2, 8), (4, 4, 4)), DIM)
    scene = scene_of(WALL, CHAIR, TABLE, on_top, ("table", block((0, 29, 10), (6, 1, 5)), DIM))
    labels = [(thing.label, round(thing.centre[2], 1)) for thing in scene.things]
    found = dict(zip(labels, scene.supports.tolist(), strict=True))
    assert found[("chair", 1.0)] == labels.index(("table", 0.4))
    assert found[("table", 1.2)] == labels.index(("wall", 1.2))
    assert found[("chair", 0.4)] == found[("wall", 1.2)] == -1


def test_a_thing_may_have_other_names_than_its_own() -> None:
    voxels = block((0, 0, 0), (6, 6, 6))
    columns = {
        "keys": pack_keys(voxels),
        "weights": torch.ones(len(voxels)),
        "colours": torch.full((len(voxels), 3), 110.0),
        "features": (0.62 * word("chair") + 0.55 * word("table")).repeat(len(voxels), 1),
        "last_seen": torch.ones(len(voxels), dtype=torch.int64),
    }
    vocabulary = Vocabulary.from_names(["wall", "table", "chair"])
    config = MappingConfig(voxel_size=VOXEL)
    semantic_map = SemanticMap.from_columns(columns, config=config, space=SPACE.id, vocabulary=vocabulary, revision=1)
    scene = MapScene(semantic_map, SPACE)
    names = scene.label_scores(0)
    assert list(names) == ["chair", "table"]
    assert names["chair"] == scene.things[0].score > 0.5 > names["table"] > 0.05


def test_few_voxels_are_weak_evidence() -> None:
    scene = scene_of(CHAIR, ("chair", block((20, 0, 0), (3, 2, 2)), DIM))
    few, many = scene.fit("chair")[np.argsort([thing.voxel_count for thing in scene.things])]
    assert many > 0.9 > 0.7 > few > 0.3
    assert scene.fit("thing") == pytest.approx(scene.fit("chair"))


@pytest.mark.parametrize(("brightest", "colour"), [(DIM, "white"), (BRIGHT, "grey")])
def test_white_is_what_the_brightest_around_is(brightest: tuple[int, int, int], colour: str) -> None:
    scene = scene_of(("wall", WALL[1], brightest), CHAIR)
    fits = {name: scene.fit(f"{name} chair")[0] for name in ("white", "grey", "black")}
    assert max(fits, key=lambda name: fits[name]) == colour
