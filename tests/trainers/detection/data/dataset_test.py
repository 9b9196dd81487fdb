import json
import os

import numpy as np
import pytest
from PIL import Image

from common.cli import UserError
from trainers.detection.data.dataset import open_sets
from trainers.detection.data.headers import Header, turned

WIDTH, HEIGHT = 40, 30


def picture(path, size=(WIDTH, HEIGHT), orientation=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    Image.new("RGB", size, "red").save(path, exif=exif)


def coco(root, boxes, split="train", **changes):
    """A data set of images 1.jpg and so on; boxes: (image, category, bbox[, more])."""
    images = changes.pop("images", 2)
    for number in range(1, images + 1):
        picture(root / "images" / f"{number}.jpg", orientation=changes.get("orientation"))
    content = {
        "images": [
            {"id": n, "file_name": f"{n}.jpg", "width": WIDTH, "height": HEIGHT}
            for n in range(1, images + 1)
        ],
        "categories": changes.get("categories", [{"id": 7, "name": "b"}, {"id": 3, "name": "a"}]),
        "annotations": [
            {"id": n, "image_id": image, "category_id": category, "bbox": bbox, **dict(*more)}
            for n, (image, category, bbox, *more) in enumerate(boxes)
        ],
    }
    content["images"] += changes.get("more_images", [])
    (root / f"{split}.json").write_text(json.dumps(content))
    return root


def test_coco(tmp_path):
    boxes = [(1, 7, [1, 2, 10, 20]), (2, 3, [0, 0, 5, 5], {"iscrowd": 1, "area": 9.5})]
    (found,) = open_sets(coco(tmp_path, boxes), ["train"])
    assert found.class_names == ("a", "b")
    first, second = found.images
    assert first.boxes.tolist() == [[1, 2, 11, 22]]
    assert (first.classes.tolist(), second.classes.tolist()) == ([1], [0])
    assert (first.crowds.tolist(), second.crowds.tolist()) == ([False], [True])
    assert second.areas.tolist() == [9.5]
    assert (first.width, first.height) == (WIDTH, HEIGHT)
    assert found.notes == ("train: 2 images, 2 boxes of 2 classes (a 1, b 1)",)
    assert not +found.skipped


def test_what_cannot_be_learnt_is_kept_out_and_counted(tmp_path):
    boxes = [
        (1, 7, [1, 2, 10, 20]),
        (1, 7, [1, 2, 10, 20]),  # twice
        (1, 3, [1, 2, 10, 20]),  # another class: not twice
        (1, 7, [5, 5, 0, 4]),
        (1, 7, [15, 5, -3, 4]),
        (1, 7, [50, 5, 10, 10]),
        (1, 7, [35, 25, 10, 10]),  # cut
        (1, 7, [float("nan"), 5, 10, 10]),
        (1, 99, [1, 2, 10, 20]),
        (99, 7, [1, 2, 10, 20]),
        (1, 7, None),
        (1, 7, []),
        (1, 7, [1, 2, 1e-9, 1e-9]),  # nothing is left of it in 32 bits
    ]
    more = [
        {"id": 5, "file_name": "missing.jpg"},
        {"id": 6, "file_name": "text.jpg"},
        {"id": 7, "file_name": "1.jpg"},
        {"id": 8, "file_name": "small.jpg", "width": WIDTH, "height": HEIGHT},
    ]
    root = coco(tmp_path, boxes, more_images=more)
    (root / "images" / "text.jpg").write_text("no image")
    picture(root / "images" / "small.jpg", (WIDTH // 2, HEIGHT // 2))
    (found,) = open_sets(root, ["train"])
    assert len(found.images) == 2
    assert found.images[0].boxes.tolist() == [[1, 2, 11, 22], [1, 2, 11, 22], [35, 25, 40, 30]]
    assert found.skipped == {
        "duplicate box": 1,
        "box without an area": 2,
        "annotation without a box": 2,
        "box with swapped corners": 1,
        "box outside of its image": 1,
        "box with a corner that is no number": 1,
        "box of an unknown class": 1,
        "annotation of an unlisted image": 1,
        "missing image": 1,
        "unreadable image": 1,
        "image listed twice": 1,
        "image of another size than annotated": 1,
    }
    notes = "\n".join(found.notes)
    assert "the first image is " + str(root / "images" / "missing.jpg") in notes
    assert "1x box with swapped corners" in notes and "1 boxes of 'train' were cut" in notes
    assert "1 images of 'train' have no box" in notes


def test_images_that_cannot_be_decoded_are_kept_out_with_their_boxes(tmp_path):
    root = coco(tmp_path, [(1, 7, [1, 2, 10, 20]), (2, 3, [1, 2, 10, 20])])
    bad = str(root / "images" / "1.jpg")
    (found,) = open_sets(
        root, ["train"], find_bad=lambda split, images: {bad} & {one.path for one in images}
    )
    assert [image.path for image in found.images] == [str(root / "images" / "2.jpg")]
    assert found.counts().tolist() == [1, 0]
    note = f"1x image that cannot be decoded; the first image is {bad}"
    assert any(note in line for line in found.notes)


def test_a_class_without_a_box_is_noted(tmp_path):
    (found,) = open_sets(coco(tmp_path, [(1, 7, [1, 2, 10, 20])]), ["train"])
    assert "warning: 'train' has no box of 'a'" in found.notes


REFUSED = {
    "no box": (lambda root: coco(root, []), "'train' of .* has no box that can be used; add some"),
    "no good box": (
        lambda root: coco(root, [(1, 7, [1, 2, 0, 0])]),
        r"no box that can be used \(kept out: 1x box without an area\)",
    ),
    "one name twice": (
        lambda root: coco(root, [], categories=[{"id": n, "name": "cat"} for n in (1, 2)]),
        "2 classes called 'cat'; rename or merge",
    ),
    "no name": (lambda root: coco(root, [], categories=[{"id": 1, "name": ""}]), "without a name"),
    "no coco": (lambda root: (root / "train.json").write_text("[]"), "not COCO's JSON"),
    "no json": (lambda root: (root / "train.json").write_text("{"), "not valid JSON"),
    "no box's sides": (lambda root: coco(root, [(1, 7, [1, 2])]), "1x annotation without a box"),
    "a side is no number": (lambda root: coco(root, [(1, 7, ["", 1, 2, 3])]), "not COCO's JSON"),
    "one id, two images": (
        lambda root: coco(root, [], more_images=[{"id": 1, "file_name": "other.jpg"}]),
        "two images have the id 1",
    ),
    "infinite size": (
        lambda root: coco(
            root, [], more_images=[{"id": 9, "file_name": "1.jpg", "width": 1e999, "height": 1}]
        ),
        "not COCO's JSON",
    ),
    "line end": (
        lambda root: coco(root, [], categories=[{"id": 1, "name": "a\nb"}]),
        r"class 'a\\nb' of .* has a line end",
    ),
    "classes": (
        lambda root: [picture(root / "train" / name / "1.jpg") for name in ("cat", "dog")],
        "folders of images, one a class, but no boxes; train a classifier",
    ),
    "no categories": (
        lambda root: (root / "train.json").write_text("{}"),
        "not COCO's JSON: 'categories' is missing",
    ),
    "nothing": (lambda root: None, "has no split 'train'; expected COCO"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_useless_set_is_refused_in_one_line(tmp_path, kind):
    make, message = REFUSED[kind]
    make(tmp_path)
    with pytest.raises(UserError, match=message) as raised:
        open_sets(tmp_path, ["train"])
    assert "\n" not in str(raised.value)


def test_classes_are_the_same_by_name_in_all_splits_and_in_the_model(tmp_path):
    coco(tmp_path, [(1, 7, [1, 2, 10, 20])])
    swapped = [{"id": 1, "name": "b"}, {"id": 2, "name": "a"}]
    coco(tmp_path, [(1, 1, [1, 2, 10, 20])], "val", categories=swapped)
    train, val = open_sets(tmp_path, ["train", "val"])
    assert train.images[0].classes.tolist() == val.images[0].classes.tolist() == [1]
    (train,) = open_sets(tmp_path, ["train"], labels=["b", "a"])
    assert train.images[0].classes.tolist() == [0]
    with pytest.raises(UserError, match="'c' is missing, 'a' is new"):
        open_sets(tmp_path, ["train"], labels=["b", "c"])
    coco(tmp_path, [(1, 1, [1, 2, 10, 20])], "val", categories=swapped[:1])
    with pytest.raises(UserError, match=r"'val' of .* has other classes than 'train': 'a' is miss"):
        open_sets(tmp_path, ["train", "val"])


def test_names_that_windows_writes_and_no_system_can_have(tmp_path):
    names = ["images\\1.jpg", "x" * 5000, "a\0b"]
    more = [{"id": 10 + n, "file_name": name} for n, name in enumerate(names)]
    root = coco(tmp_path, [(10, 7, [1, 2, 10, 20])], images=1, more_images=more)
    content = json.loads((root / "train.json").read_text())
    content["images"].pop(0)
    (root / "train.json").write_text("\ufeff" + json.dumps(content))
    (found,) = open_sets(root, ["train"])
    assert [image.path for image in found.images] == [str(root / "images" / "1.jpg")]
    assert sum(found.skipped.values()) == 2


@pytest.mark.timeout(20)
def test_an_image_that_is_a_pipe_is_not_waited_for(tmp_path):
    root = coco(tmp_path, [(1, 7, [1, 2, 10, 20])], more_images=[{"id": 9, "file_name": "pipe"}])
    os.mkfifo(root / "images" / "pipe")
    (found,) = open_sets(root, ["train"])
    assert found.skipped == {"missing image": 1}


def test_an_outline_is_not_larger_than_its_image(tmp_path):
    boxes = [(1, 7, [1, 2, 10, 20], {"area": 1e300})]
    (found,) = open_sets(coco(tmp_path, boxes), ["train"])
    assert found.images[0].areas.tolist() == [WIDTH * HEIGHT]


XML = """<annotation><folder>x</folder><filename>{name}</filename>
<size><width>40</width><height>30</height><depth>3</depth></size>{objects}</annotation>"""
OBJECT = """<object><name>{}</name><difficult>{}</difficult><bndbox><xmin>{}</xmin><ymin>{}</ymin>
<xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"""


def test_pascal_voc(tmp_path):
    for name in ("one", "two", "three"):
        picture(tmp_path / "JPEGImages" / f"{name}.jpg")
    (tmp_path / "Annotations").mkdir()
    objects = OBJECT.format("dog", 0, 1, 1, 10, 20) + OBJECT.format("cat", 1, 11, 6, 40, 30)
    (tmp_path / "Annotations/one.xml").write_text(XML.format(name="one.jpg", objects=objects))
    (tmp_path / "Annotations/two.xml").write_text(XML.format(name="C:/x/two.jpg", objects=""))
    bomb = '<!DOCTYPE a [<!ENTITY b "c">]>' + XML.format(name="three.jpg", objects="")
    (tmp_path / "Annotations/three.xml").write_text(bomb)
    (tmp_path / "ImageSets/Main").mkdir(parents=True)
    (tmp_path / "ImageSets/Main/train.txt").write_text("one\ntwo 1\nthree\nfour\n\n")
    (found,) = open_sets(tmp_path, ["train"])
    assert found.class_names == ("cat", "dog")
    one, two = found.images
    # VOC counts from 1, and a box has its last pixel.
    assert one.boxes.tolist() == [[0, 0, 10, 20], [10, 5, 40, 30]]
    assert one.classes.tolist() == [1, 0] and one.difficult.tolist() == [False, True]
    assert len(two.boxes) == 0
    assert found.skipped == {"damaged XML file": 1, "image without an XML file": 1}


@pytest.mark.parametrize("layout", ["images/{0} labels/{0}", "{0}/images {0}/labels"])
def test_yolo(tmp_path, layout):
    images, labels = (tmp_path / place.format("train") for place in layout.split())
    labels.mkdir(parents=True)
    for name in ("one", "two"):
        picture(images / f"{name}.jpg")
    lines = ["1 0.5 0.5 0.25 0.5", "0 .1 .1 .2 .2 .3 .3", "x y", "7 .5 .5 .1 .1", "0 20 15 4 4"]
    (labels / "one.txt").write_text("\n".join(lines))
    (labels / "gone.txt").write_text(lines[0])
    with pytest.raises(UserError, match=r"no names of its classes; write them to .*classes\.txt"):
        open_sets(tmp_path, ["train"])
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    (found,) = open_sets(tmp_path, ["train"])
    assert found.class_names == ("cat", "dog")
    assert found.images[0].boxes.tolist() == [[15, 7.5, 25, 22.5]]
    assert len(found.images[1].boxes) == 0
    assert found.skipped == {
        "line with more than a box (an outline?)": 1,
        "line that is no box": 1,
        "box of an unknown class": 1,
        "box in pixels instead of shares": 1,
        "annotation of a missing image": 1,
    }


@pytest.mark.parametrize("way", range(1, 9))
def test_a_box_turns_as_its_pixels_do(way):
    stored = np.zeros((6, 9, 1), np.uint8)
    stored[1:3, 4:9] = 1
    import tensorflow as tf

    from trainers.data.images.decoding import turn

    seen = turn(stored, tf.constant(way)).numpy()[..., 0]
    rows, columns = np.nonzero(seen)
    expected = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    header = Header(9, 6, way)
    assert turned(np.array([[4, 1, 9, 3]]), header).tolist() == [expected]
    assert header.upright == seen.shape[::-1]


def test_boxes_of_the_stored_image_are_turned_and_others_are_not(tmp_path):
    boxes = [(1, 7, [1, 2, 10, 20])]
    (found,) = open_sets(coco(tmp_path, boxes, orientation=6, images=1), ["train"])
    (image,) = found.images
    assert (image.width, image.height) == (HEIGHT, WIDTH)
    assert image.boxes.tolist() == [[30 - 22, 1, 30 - 2, 11]]
    assert any("turned by their EXIF orientation" in note for note in found.notes)
    # Annotated at the size at which it is seen.
    content = json.loads((tmp_path / "train.json").read_text())
    content["images"][0] |= {"width": HEIGHT, "height": WIDTH}
    (tmp_path / "train.json").write_text(json.dumps(content))
    (found,) = open_sets(tmp_path, ["train"])
    assert found.images[0].boxes.tolist() == [[1, 2, 11, 22]]
