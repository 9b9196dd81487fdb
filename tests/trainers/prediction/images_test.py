import os

import numpy as np
import pytest
from PIL import Image

from common.cli import UserError
from trainers.prediction.images import BATCH, find_images, read_images


def save(path, value=7, size=(40, 30)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, value, value)).save(path)
    return path


def test_folders_are_searched_at_any_depth(tmp_path):
    wanted = [save(tmp_path / name) for name in ("a.PNG", "b.jpg", "in/deep/c.webp", "in/d.bmp")]
    for hidden in (".x.png", ".ipynb_checkpoints/y.png", "in/.thumbs/z.png", "__MACOSX/a.png"):
        save(tmp_path / hidden)
    (tmp_path / "photo.heic").write_text("of another kind")
    found, skipped = find_images([str(tmp_path)])
    assert sorted(found) == sorted(wanted)
    assert skipped == "3 hidden folders, 1 hidden file, 1 .heic"


def test_a_file_that_is_named_is_taken_whatever_its_name(tmp_path):
    path = tmp_path / "photo"
    path.touch()
    assert find_images([str(path)]) == ([path], "")


def test_nothing_to_read_is_said(tmp_path):
    with pytest.raises(UserError, match=r"gone does not exist"):
        find_images([str(tmp_path / "gone")])
    with pytest.raises(UserError, match=r"there is no image \(\.jpg, .*in "):
        find_images([str(tmp_path)])


def test_what_cannot_be_read_has_a_reason_and_does_not_end_the_rest(tmp_path):
    good = [save(tmp_path / f"{index}.png", value=index) for index in range(BATCH)]
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "empty.png").touch()
    (tmp_path / "half.png").write_bytes(good[0].read_bytes()[:40])
    (tmp_path / "link.png").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe.png")
    found, skipped = find_images([str(tmp_path)])
    assert skipped == "1 broken link, 1 special file"
    named = [tmp_path / "link.png", tmp_path / "pipe.png"]
    batches = list(read_images([*found, *named], 32, 32, 3))
    assert [len(batch) for batch in batches] == [BATCH, 5]
    found = {path.name: image for batch in batches for path, image in batch}
    for index, path in enumerate(good):
        np.testing.assert_array_equal(found[path.name], np.full((32, 32, 3), index, np.uint8))
    assert found["text.png"].startswith("not an image that can be decoded (.jpg, ")
    assert found["half.png"].startswith("not an image that can be decoded (.jpg, ")
    assert found["empty.png"] == "empty"
    assert found["link.png"] == "No such file or directory"
    assert found["pipe.png"] == "not a file"
