"""What a generated room can hold: names, the words people use for them, and plausible looks."""

from __future__ import annotations

from dataclasses import dataclass

WOOD = {"brown": 0.6, "beige": 0.2, "white": 0.1, "black": 0.1}
FABRIC = {
    "grey": 0.25,
    "blue": 0.15,
    "beige": 0.15,
    "green": 0.1,
    "red": 0.1,
    "brown": 0.1,
    "white": 0.05,
    "black": 0.1,
}
WHITE_GOODS = {"white": 0.7, "grey": 0.2, "black": 0.1}
BRIGHT = dict.fromkeys(("red", "blue", "green", "yellow", "orange", "purple", "pink"), 1.0)
PLASTIC = {**BRIGHT, "black": 2.0, "grey": 2.0, "white": 1.0}
DARK = {"black": 0.8, "grey": 0.2}


@dataclass(frozen=True)
class ObjectClass:
    """One class of things.

    Attributes:
        name: the word shown to people; its label id is its place in CLASSES plus one.
        synonyms: further words used in training.
        held_out: words never used in training, to measure how far the text space carries.
        colours: plausible main colours with their weights (see materials.NAMED_COLOURS).
        textures: plausible textures of the main material (see textures.TEXTURES).
    """

    name: str
    synonyms: tuple[str, ...]
    held_out: tuple[str, ...]
    colours: dict[str, float]
    textures: tuple[str, ...] = ("plain",)


CLASSES: tuple[ObjectClass, ...] = (
    ObjectClass(
        "wall",
        ("walls",),
        ("partition",),
        {"white": 4, "beige": 2, "grey": 2, "blue": 1, "green": 1, "yellow": 1},
        ("plain", "plain", "speckle", "stripes", "bricks", "tiles"),
    ),
    ObjectClass(
        "floor",
        ("flooring",),
        ("ground",),
        {"brown": 4, "grey": 2, "beige": 3, "white": 1, "black": 0.5},
        ("planks", "planks", "tiles", "speckle", "plain", "checker"),
    ),
    ObjectClass(
        "ceiling", ("ceiling of the room",), ("roof",), {"white": 6, "beige": 1, "grey": 1}, ("plain", "plain", "tiles")
    ),
    ObjectClass("door", ("wooden door",), ("doorway",), {**WOOD, "white": 0.6, "grey": 0.2}, ("plain", "wood")),
    ObjectClass("window", ("window pane",), ("windows",), {"white": 4, "brown": 2, "grey": 1, "black": 1}),
    ObjectClass(
        "curtain",
        ("drapes",),
        ("curtains",),
        {**FABRIC, "purple": 0.1, "yellow": 0.1},
        ("plain", "stripes", "fabric", "checker"),
    ),
    ObjectClass("picture", ("painting",), ("poster", "artwork"), {**WOOD, "grey": 0.2}),
    ObjectClass("clock", ("wall clock",), ("timepiece",), {"white": 1, "black": 1, "brown": 0.5, "red": 0.3}),
    ObjectClass("television", ("tv", "tv screen"), ("flat screen tv",), DARK),
    ObjectClass("radiator", ("heater",), ("heating",), {"white": 5, "grey": 1}),
    ObjectClass("fire extinguisher", ("extinguisher",), ("fire extinguishers",), {"red": 8, "orange": 0.5}),
    ObjectClass(
        "bed", ("double bed",), ("mattress",), {**FABRIC, "white": 0.4}, ("plain", "fabric", "stripes", "checker")
    ),
    ObjectClass("sofa", ("settee",), ("couch",), FABRIC, ("plain", "fabric", "stripes")),
    ObjectClass(
        "chair",
        ("seat",),
        ("dining chair",),
        {**WOOD, "black": 0.3, "red": 0.1, "blue": 0.1, "green": 0.1},
        ("plain", "wood"),
    ),
    ObjectClass(
        "stool", ("bar stool",), ("footstool",), {**WOOD, "red": 0.2, "black": 0.3, "grey": 0.2}, ("plain", "wood")
    ),
    ObjectClass("table", ("dining table",), ("tabletop",), WOOD, ("wood", "plain")),
    ObjectClass("desk", ("office desk",), ("writing desk",), {**WOOD, "grey": 0.2}, ("wood", "plain")),
    ObjectClass(
        "cabinet", ("cupboard", "sideboard"), ("dresser",), {**WOOD, "white": 0.4, "grey": 0.2}, ("plain", "wood")
    ),
    ObjectClass("bookshelf", ("bookcase",), ("book shelves",), WOOD, ("wood", "plain")),
    ObjectClass("refrigerator", ("freezer",), ("fridge",), WHITE_GOODS),
    ObjectClass("oven", ("stove",), ("cooker",), {"white": 0.4, "grey": 0.4, "black": 0.2}),
    ObjectClass(
        "sink", ("wash basin",), ("washbasin",), {"white": 0.6, "grey": 0.3, "beige": 0.1}, ("plain", "speckle")
    ),
    ObjectClass("toilet", ("toilet bowl",), ("lavatory",), {"white": 8, "beige": 1}),
    ObjectClass("bathtub", ("bath",), ("tub",), {"white": 8, "beige": 1}),
    ObjectClass("washing machine", ("washer",), ("laundry machine",), WHITE_GOODS),
    ObjectClass(
        "rug", ("carpet",), ("mat",), {**FABRIC, "red": 0.2}, ("stripes", "checker", "fabric", "plain", "painting")
    ),
    ObjectClass("plant", ("potted plant",), ("houseplant",), {"green": 8, "yellow": 0.3}),
    ObjectClass(
        "lamp", ("floor lamp",), ("table lamp",), {"white": 3, "beige": 2, "yellow": 1, "red": 0.4, "blue": 0.4}
    ),
    ObjectClass(
        "trash can",
        ("waste bin",),
        ("rubbish bin", "garbage can"),
        {"grey": 2, "black": 2, "blue": 0.7, "green": 0.7, "white": 0.7},
    ),
    ObjectClass("box", ("cardboard box",), ("carton",), {"brown": 4, "beige": 3, "white": 0.5}, ("plain", "speckle")),
    ObjectClass("suitcase", ("luggage",), ("trolley bag",), PLASTIC),
    ObjectClass("ball", ("football",), ("soccer ball",), {**BRIGHT, "white": 2}, ("plain", "stripes", "checker")),
    ObjectClass(
        "pillow",
        ("cushion",),
        ("pillows",),
        {**FABRIC, "white": 0.5, "yellow": 0.2, "pink": 0.1},
        ("plain", "stripes", "fabric", "checker"),
    ),
    ObjectClass("book", ("books",), ("stack of books",), PLASTIC),
    ObjectClass("bottle", ("wine bottle",), ("flask",), {"green": 3, "brown": 2, "blue": 1, "white": 1, "red": 0.5}),
    ObjectClass(
        "vase", ("flower vase",), ("urn",), {**BRIGHT, "white": 2, "black": 0.5}, ("plain", "stripes", "speckle")
    ),
    ObjectClass("laptop", ("notebook computer",), ("laptop computer",), {"grey": 3, "black": 2, "white": 1}),
    ObjectClass("monitor", ("computer monitor",), ("computer screen",), DARK),
    ObjectClass("backpack", ("rucksack",), ("school bag",), {**BRIGHT, "black": 3, "grey": 2}, ("plain", "fabric")),
    ObjectClass(
        "teddy bear",
        ("stuffed animal",),
        ("plush toy",),
        {"brown": 4, "beige": 2, "white": 1, "pink": 0.5},
        ("fabric",),
    ),
)

CLASS_NAMES: tuple[str, ...] = tuple(entry.name for entry in CLASSES)
LABEL_IDS: dict[str, int] = {name: index + 1 for index, name in enumerate(CLASS_NAMES)}
BY_NAME: dict[str, ObjectClass] = {entry.name: entry for entry in CLASSES}
