"""Pictures, batches and files."""

from __future__ import annotations

import io as files
from pathlib import Path

import numpy as np
import pytest

from elastic_inference.errors import ConfigurationError
from elastic_inference.frameworks.mxnet import creation, image, io, test_utils
from elastic_inference.frameworks.mxnet.errors import MXNetError
from elastic_inference.frameworks.mxnet.ndarray import wrap

pillow = pytest.importorskip("PIL.Image")


def picture(width: int = 8, height: int = 6) -> bytes:
    values = np.arange(height * width * 3, dtype=np.uint8).reshape(height, width, 3)
    out = files.BytesIO()
    pillow.fromarray(values).save(out, "PNG")
    return out.getvalue()


@pytest.fixture(params=["opencv", "pillow"])
def _library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "pillow":
        monkeypatch.setattr(image, "_opencv", lambda: None)
    else:
        pytest.importorskip("cv2")


@pytest.mark.usefixtures("_library")
def test_pictures_are_read_in_rgb(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture())
    read = image.imread(str(tmp_path / "a.png"))
    assert (read.shape, read.dtype) == ((6, 8, 3), np.uint8)
    assert read.asnumpy()[0, 0].tolist() == [0, 1, 2]
    assert image.imdecode(picture(), to_rgb=False).asnumpy()[0, 0].tolist() == [2, 1, 0]
    assert image.imdecode(picture(), flag=0).shape == (6, 8, 1)
    encoded = wrap(np.frombuffer(picture(), np.uint8))
    assert image.imdecode(encoded).shape == (6, 8, 3)


@pytest.mark.usefixtures("_library")
def test_pictures_change_their_size() -> None:
    read = image.imdecode(picture())
    assert image.imresize(read, 4, 3).shape == (3, 4, 3)
    assert image.resize_short(read, 3).shape == (3, 4, 3)
    assert image.imresize(read.astype("float32"), 16, 12, interp=2).dtype is np.float32
    cropped, where = image.center_crop(read, (4, 4))
    assert (cropped.shape, where) == ((4, 4, 3), (2, 1, 4, 4))
    assert image.fixed_crop(read, 1, 2, 3, 2, size=(6, 4)).shape == (4, 6, 3)
    assert image.random_crop(read, (4, 4))[0].shape == (4, 4, 3)
    assert image.imresize(image.imdecode(picture(), flag=0), 4, 3).shape == (3, 4, 1)
    assert image.imresize(read, 9, 9, interp=9).shape == (9, 9, 3)


def test_colours_are_normalised() -> None:
    read = image.imdecode(picture()).astype("float32")
    mean, std = creation.array([1, 2, 3]), creation.array([2, 2, 2])
    found = image.color_normalize(read, mean, std)
    assert found.asnumpy()[0, 0].tolist() == [-0.5, -0.5, -0.5]


@pytest.mark.usefixtures("_library")
def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MXNetError, match=r"Decoding failed. Invalid image file."):
        image.imdecode(b"no picture")
    with pytest.raises(MXNetError, match="Input cannot be empty"):
        image.imdecode(b"")
    with pytest.raises(MXNetError, match="couldn't open file: No such file or directory"):
        image.imread(str(tmp_path / "none.jpg"))


def test_batches_are_filled_from_the_beginning() -> None:
    batches = io.NDArrayIter(np.arange(5).reshape(5, 1), np.arange(5), batch_size=2)
    assert [(desc.name, desc.shape) for desc in batches.provide_data] == [("data", (2, 1))]
    assert [desc.name for desc in batches.provide_label] == ["softmax_label"]
    found = [(batch.data[0].asnumpy().ravel().tolist(), batch.pad) for batch in batches]
    assert found == [([0, 1], 0), ([2, 3], 0), ([4, 0], 1)]
    batches.reset()
    assert len(list(batches)) == 3


def test_the_last_batch_may_be_left_out() -> None:
    batches = io.NDArrayIter({"a": np.zeros((5, 2))}, batch_size=2, last_batch_handle="discard")
    assert [batch.pad for batch in batches] == [0, 0]
    with pytest.raises(ValueError, match="last_batch_handle"):
        io.NDArrayIter(np.zeros(3), last_batch_handle="other")
    with pytest.raises(ValueError, match="data cannot be None"):
        io.NDArrayIter(None)
    over = io.NDArrayIter(np.arange(5), batch_size=2, last_batch_handle="roll_over")
    turns = []
    for _ in range(2):
        turns.append([(each.pad, each.data[0].asnumpy().tolist()) for each in over])
        over.reset()
    assert turns == [[(0, [0, 1]), (0, [2, 3])], [(1, [4, 0]), (0, [1, 2]), (0, [3, 4])]]
    assert len(list(io.ResizeIter(batches, 5))) == 5
    assert io.NDArrayIter([np.zeros(2), np.ones(2)]).provide_data[1].name == "_1_data"


def test_descriptions_are_pairs() -> None:
    name, shape = io.DataDesc("data", (1, 3))
    assert (name, shape) == ("data", (1, 3))
    described = io.DataDesc("data", (1, 3), layout="NT")
    assert described.dtype is np.float32
    assert io.DataDesc.get_batch_axis("TNC") == 1
    assert io.DataDesc.get_list([("a", (1,))], [("a", np.int32)])[0].dtype is np.int32
    with pytest.raises(TypeError, match="Data must be list of NDArrays"):
        io.DataBatch(creation.zeros(1))


def test_what_is_there_is_not_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "synset.txt").write_text("cat")
    assert test_utils.download("http://127.0.0.1:9/models/synset.txt") == "synset.txt"


def test_files_come_from_the_folder_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, work = tmp_path / "from", tmp_path / "work"
    (folder / "models").mkdir(parents=True)
    work.mkdir()
    (folder / "models" / "a.txt").write_text("deep")
    (folder / "cat.jpg").write_text("flat")
    monkeypatch.chdir(work)
    monkeypatch.setenv("EI_MXNET_DOWNLOADS", str(folder))
    assert Path(test_utils.download("http://example.org/models/a.txt")).read_text() == "deep"
    # The query is a part of the name, as in MXNet.
    name = test_utils.download("https://example.org/x/cat.jpg?raw=true")
    assert (name, Path(name).read_text()) == ("cat.jpg?raw=true", "flat")
    with pytest.raises(ConfigurationError, match=r"has no b\.txt"):
        test_utils.download("http://example.org/b.txt")
    monkeypatch.delenv("EI_MXNET_DOWNLOADS")
    with pytest.raises(ValueError, match="no address"):
        test_utils.download("file:///etc/hostname")
