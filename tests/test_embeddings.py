"""Embeddings: the numbers of the network, found again by what made them, anew after any change, never damaged."""

import os
from contextlib import nullcontext
from pathlib import Path

import keras
import numpy as np
import pytest

from course_utils import embeddings
from course_utils.embeddings import extract_features, pooled_features_model


def halved(batch):
    return batch / 2


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    return tmp_path


@pytest.fixture
def computed(monkeypatch):
    """Count how often something is computed instead of found."""
    calls = []
    original = embeddings._computed
    monkeypatch.setattr(embeddings, "_computed", lambda *a: calls.append(1) or original(*a))
    return calls


@pytest.fixture
def images():
    return np.random.default_rng(1).integers(0, 256, (7, 8, 8, 3), dtype=np.uint8)


def small_network(seed=1, filters=4):
    keras.utils.set_random_seed(seed)
    entry = keras.Input((8, 8, 3))
    maps = keras.layers.Conv2D(filters, 3, name="first")(entry)
    maps = keras.layers.BatchNormalization(name="normed")(maps)
    return keras.Model(entry, keras.layers.Conv2D(2, 3, name="second")(keras.layers.Dropout(0.5)(maps)))


def test_features_are_those_of_the_network_at_inference(images):
    network = small_network()
    result = extract_features(network, images, halved, batch_size=3)  # 3 + 3 + 1
    expected = network(images.astype("float32") / 2, training=False).numpy()
    assert result.dtype == np.float32 and result.shape == (7, 4, 4, 2)
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-4)


def test_outputs_come_in_their_order(images):
    network = small_network()
    both = keras.Model(network.input, [network.get_layer("first").output, network.output])
    first, second = extract_features(both, images, halved)
    assert first.shape == (7, 6, 6, 4) and second.shape == (7, 4, 4, 2)
    for cached, fresh in zip(extract_features(both, images, halved), (first, second), strict=True):
        np.testing.assert_array_equal(cached, fresh)


def test_result_is_found_by_a_network_built_again(images, computed):
    one = extract_features(small_network(), images, halved)
    two = extract_features(
        small_network(), images.copy(), lambda batch: batch * 0.5
    )  # other layer numbers, another function
    assert len(computed) == 1
    np.testing.assert_array_equal(one, two)


def test_key_differs_by_activation_even_where_layers_are_named_after_it(images):
    # Both have the same weights, and each activation layer bears the name of its function.
    def network(kind):
        entry = keras.Input((8, 8, 3))
        maps = keras.layers.Conv2D(4, 3, kernel_initializer=keras.initializers.GlorotUniform(1))(entry)
        return keras.Model(entry, keras.layers.Activation(kind, name=kind)(maps))

    for kind in ("relu", "tanh"):
        expected = network(kind)(images.astype("float32") / 2, training=False).numpy()
        np.testing.assert_allclose(extract_features(network(kind), images, halved), expected, rtol=1e-4, atol=1e-4)


def test_each_output_is_kept_by_itself_and_only_what_is_missing_is_computed(images, monkeypatch):
    network = small_network()
    layers = ("first", "normed", "second")
    asked = []
    original = embeddings._computed
    monkeypatch.setattr(embeddings, "_computed", lambda n, *rest: asked.append(len(n.outputs)) or original(n, *rest))
    early = extract_features(pooled_features_model(network, layers[:2]), images, halved)
    all_three = extract_features(pooled_features_model(network, layers), images, halved)
    late = extract_features(pooled_features_model(network, layers[2:]), images, halved)
    assert asked == [2, 1]
    np.testing.assert_array_equal(all_three[0], early[0])
    np.testing.assert_array_equal(all_three[2], late)


def test_result_that_another_notebook_has_just_made_and_removed_is_no_error(cache, images, monkeypatch):
    monkeypatch.setattr(embeddings, "prepared_once", lambda file: nullcontext(None))  # already there, it says
    assert extract_features(small_network(), images, halved).shape == (7, 4, 4, 2)


@pytest.mark.parametrize("change", ["pixel", "weights", "layers", "preparation", "order"])
def test_key_differs_by_any_ingredient(images, computed, change):
    extract_features(small_network(), images, halved)
    changed = images.copy()
    changed[6, 7, 7, 2] ^= 1
    network = small_network(seed=2) if change == "weights" else small_network(filters=5 if change == "layers" else 4)
    pictures = {"pixel": changed, "order": images[::-1]}.get(change, images)
    extract_features(network, pictures, (lambda batch: batch) if change == "preparation" else halved)
    assert len(computed) == 2


def test_grey_images_are_repeated_for_three_channels(images, computed):
    grey = images[..., 0]
    result = extract_features(small_network(), grey, halved)
    np.testing.assert_allclose(
        result, extract_features(small_network(), np.stack([grey] * 3, axis=3), halved), rtol=1e-4
    )
    assert extract_features(small_network(), grey[..., None], halved).shape == result.shape
    assert len(computed) == 2  # with and without an axis for the channel: the same picture


def test_preprocessing_in_place_spoils_nothing(images):
    before = images.copy()
    prepare = keras.applications.mobilenet_v2.preprocess_input
    one = extract_features(small_network(), images, prepare)
    np.testing.assert_array_equal(images, before)
    np.testing.assert_array_equal(one, extract_features(small_network(), images, prepare))


def test_many_small_extractions_give_no_warning(images, caplog):
    network = small_network()
    for number in range(7):
        extract_features(network, images[: number + 1], halved, batch_size=4)
    assert not caplog.records


def test_preprocessing_may_return_a_view(images):
    assert extract_features(small_network(), images, lambda batch: batch[..., ::-1]).shape == (7, 4, 4, 2)


@pytest.mark.parametrize("content", [b"", b"not an archive", None])
def test_damaged_result_is_computed_again(cache, images, computed, content):
    whole = extract_features(small_network(), images, halved)
    (file,) = cache.glob("*.npy")
    file.write_bytes(file.read_bytes()[:200] if content is None else content)
    np.testing.assert_allclose(extract_features(small_network(), images, halved), whole, rtol=1e-5)
    assert len(computed) == 2


def test_failure_leaves_nothing_behind(cache, images):
    calls = []

    def breaks(batch):
        calls.append(1)
        if len(calls) > 1:  # the first is the probe for the name
            raise RuntimeError("power cut")
        return batch

    with pytest.raises(RuntimeError, match="power cut"):
        extract_features(small_network(), images, breaks)
    assert not list(cache.glob("*.npy")) and not list(cache.glob("*part*"))


def test_cache_drops_the_oldest_results(cache, images, monkeypatch):
    for number in range(3):
        extract_features(small_network(), images[number : number + 1], halved)
        (newest,) = [file for file in cache.glob("*.npy") if file.stat().st_mtime > 1e9]
        os.utime(newest, (1000 + number, 1000 + number))
    size = newest.stat().st_size
    monkeypatch.setattr(embeddings, "CACHE_LIMIT_BYTES", 2.5 * size)
    extract_features(small_network(), images[3:4], halved)
    left = sorted(file.stat().st_mtime for file in cache.glob("*.npy"))
    assert len(left) == 2 and left[0] == 1002


def test_cache_may_be_tidied_by_two_notebooks_at_once(cache, monkeypatch):
    monkeypatch.setattr(embeddings, "CACHE_LIMIT_BYTES", 10)
    for name in ("one", "two", "kept"):
        (cache / f"{name}.npy").write_bytes(bytes(20))
    look = Path.stat

    def removed_just_before(file, **options):
        if file.name == "two.npy":
            file.unlink(missing_ok=True)  # by the other notebook
        return look(file, **options)

    monkeypatch.setattr(Path, "stat", removed_just_before)
    embeddings._remove_oldest(keep=[cache / "kept.npy"])
    assert [file.name for file in cache.iterdir()] == ["kept.npy"]


def test_cache_lies_in_the_data_folder_by_default(tmp_path, monkeypatch):
    monkeypatch.delenv("COURSE_CACHE")
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "data"))
    assert embeddings.cache_folder() == tmp_path / "data" / "cache"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda images: images / 255, "float64: pass at least one, as uint8"),
        (lambda images: images[:0], r"\(0, 8, 8, 3\)"),
        (lambda images: images[0, 0], "pass at least one, as uint8"),
        (lambda images: images[:, :6], "6 × 8 × 3, but the network takes 8 × 8 × 3"),
        (lambda images: images[..., :2], "8 × 8 × 2, but the network takes 8 × 8 × 3"),
    ],
)
def test_images_that_do_not_fit_are_refused(images, wrong, said):
    with pytest.raises(ValueError, match=said):
        extract_features(small_network(), wrong(images), halved)


def test_pooled_features_are_mean_and_maximum(images):
    network = small_network()
    maps = extract_features(network, images, halved)
    pooled = extract_features(pooled_features_model(network, ["second"]), images, halved)
    np.testing.assert_allclose(
        pooled, np.concatenate([maps.mean(axis=(1, 2)), maps.max(axis=(1, 2))], axis=1), rtol=1e-4
    )
    only = pooled_features_model(network, ["first", "second"], pooling=("max",))
    assert [tuple(output.shape) for output in only.outputs] == [(None, 4), (None, 2)]


def test_pooled_features_name_unknown_layers_and_poolings():
    with pytest.raises(ValueError, match=r"no layer 'secnd': did you mean one of second"):
        pooled_features_model(small_network(), ["secnd"])
    with pytest.raises(ValueError, match="pooling"):
        pooled_features_model(small_network(), ["second"], pooling=("median",))
    with pytest.raises(ValueError, match="pooling"):
        pooled_features_model(small_network(), ["second"], pooling=())


def test_trainable_batch_norm_learns_in_spite_of_training_false():
    """What lesson 06, section 6.7, warns of; if a new Keras changes it, the lesson must be rewritten."""
    base = small_network()
    entry = keras.Input((8, 8, 3))
    output = keras.layers.Dense(1)(keras.layers.GlobalAveragePooling2D()(base(entry, training=False)))
    model, norm = keras.Model(entry, output), base.get_layer("normed")
    images = np.random.default_rng(0).normal(size=(8, 8, 8, 3)).astype("float32")

    def moved() -> float:
        before = norm.moving_mean.numpy().copy()
        model.compile("sgd", "mse")
        model.fit(images, np.zeros(8), verbose=0)
        return float(np.abs(norm.moving_mean.numpy() - before).max())

    norm.trainable = False
    assert moved() == 0
    norm.trainable = True
    assert moved() > 1e-4
