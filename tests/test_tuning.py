"""The helpers of lesson 08: figures, and a worker of the search."""

import subprocess
import sys
import time

import matplotlib.pyplot as plt
import numpy as np
import optuna
import pytest
from sklearn.metrics import roc_auc_score

from course_utils import tuning, tuning_worker
from course_utils.exercises import lesson_08


@pytest.fixture(autouse=True)
def no_figures():
    yield
    plt.close("all")


@pytest.fixture
def data():
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 200)
    table = (random.normal(size=(2, 200, 5)) + 2 * labels[:, None]).astype("float32")
    noise = random.normal(size=(2, 200, 5)).astype("float32")
    return {"labels": labels, "fold": np.arange(200) % 2, "early": table, "middle": noise, "late": noise}


def test_moving_average_by_hand():
    np.testing.assert_allclose(tuning.moving_average(np.array([1.0, 3.0, 5.0, 1.0]), width=2), [1, 2, 4, 3])


def test_moving_average_is_finite_again_after_an_infinite_loss():
    np.testing.assert_allclose(tuning.moving_average([1.0, np.inf, 5.0, 1.0], width=2), [1, np.inf, np.inf, 3])


# --- figures


def test_plot_scores_in_percent_with_two_standard_errors():
    tuning.plot_scores({"a": [0.5, 0.7], "b": [0.9]}, "accuracy in %")
    axis = plt.gca()
    np.testing.assert_allclose(axis.lines[0].get_xdata(), [50, 70])
    assert [label.get_text() for label in axis.get_yticklabels()] == ["a", "b"]
    (low, high), _ = np.array(axis.collections[0].get_segments()[0]).T
    assert (high - low) / 2 == pytest.approx(2 * 10)  # standard deviation √200 = 14.1 over √2 seeds
    assert axis.get_xlabel() == "accuracy in %"


def test_plot_scores_refuses_no_setting():
    with pytest.raises(ValueError, match="got no setting"):
        tuning.plot_scores({}, "accuracy")


def test_score_table_frames_the_best_of_each_row():
    tuning.plot_score_table(np.array([[0.1, 0.9], [0.8, 0.3]]), [10, 20], [1, 2], "batch", "rate")
    axis = plt.gcf().axes[0]
    assert [text.get_text() for text in axis.texts] == ["10", "90", "80", "30"]
    assert [round(patch.get_x() + 0.47) for patch in axis.patches] == [1, 0]
    with pytest.raises(ValueError, match="2 × 3 names"):
        tuning.plot_score_table(np.zeros((2, 2)), [1, 2], [1, 2, 3], "", "")


# --- the worker


def test_inputs_of_one_depth_and_of_all(data):
    np.testing.assert_array_equal(tuning_worker.inputs(data, "early", 1), data["early"][1])
    side_by_side = tuning_worker.inputs(data, "all", 0)
    assert side_by_side.shape == (200, 15)
    np.testing.assert_array_equal(side_by_side[:, :5], data["early"][0])


SETTINGS = {"depth": "early", "rate": 0.01, "width": 8, "l2": 1e-4}


def test_cross_validation_scores_only_unseen_cells(data):
    scores = list(tuning_worker.cross_validated(SETTINGS, data, seed=3, epochs=2))
    head, judge = tuning_worker.make_head(SETTINGS, 3), data["fold"] == 1
    for _ in range(2):
        head.partial_fit(data["early"][1][~judge], data["labels"][~judge], classes=[0, 1])
    wanted = roc_auc_score(data["labels"][judge], head.predict_proba(data["early"][1][judge])[:, 1])
    assert len(scores) == 2 and scores[1][1] == pytest.approx(wanted)


def test_objective_reports_each_epoch_and_returns_the_last_mean(data):
    study = optuna.create_study(direction="maximize")
    study.enqueue_trial(SETTINGS)
    study.optimize(lambda trial: tuning_worker.objective(trial, data), n_trials=1)
    reported = study.trials[0].intermediate_values
    wanted = [scores.mean() for scores in tuning_worker.cross_validated(SETTINGS, data)]
    assert sorted(reported) == list(range(1, 13))
    np.testing.assert_allclose([reported[epoch] for epoch in range(1, 13)], wanted)
    assert study.trials[0].value == pytest.approx(wanted[-1])


def test_hopeless_trial_is_pruned(data):
    study = optuna.create_study(direction="maximize", pruner=optuna.pruners.ThresholdPruner(lower=0.99))
    study.enqueue_trial(SETTINGS | {"depth": "late"})
    study.optimize(lambda trial: tuning_worker.objective(trial, data), n_trials=1)
    assert study.trials[0].state.name == "PRUNED" and len(study.trials[0].intermediate_values) == 1


@pytest.fixture
def shared(data, tmp_path, monkeypatch):
    monkeypatch.setattr(tuning_worker, "GRACE_S", 2)  # this process waits no longer than that for a silent worker
    np.savez(tmp_path / "data.npz", **data)
    url = f"sqlite:///{(tmp_path / 'study.db').as_posix()}"
    storage = tuning_worker.open_storage(url)
    study = optuna.create_study(study_name=tuning_worker.STUDY, storage=storage, direction="maximize")
    return study, [url, str(tmp_path / "data.npz")]


def test_worker_ends_when_the_study_has_enough_trials(shared):
    study, arguments = shared
    level = optuna.logging.get_verbosity()
    try:
        assert tuning_worker.main([*arguments, "3", "0"]) == 0
        assert tuning_worker.main([*arguments, "4", "0"]) == 0
    finally:
        optuna.logging.set_verbosity(level)
    assert len(study.trials) == 4 and all(0 <= trial.value <= 1 for trial in study.trials)


def test_killed_trial_fails_and_is_tried_again(shared):
    study, arguments = shared
    command = [sys.executable, "-m", "course_utils.tuning_worker", *arguments, "9", "0.5"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as worker:
        limit = time.monotonic() + 600
        while not any(trial.intermediate_values for trial in study.get_trials()) and time.monotonic() < limit:
            time.sleep(0.1)
        worker.kill()
        assert worker.communicate()[0] == b""
    assert study.trials[0].state.name == "RUNNING" and study.trials[0].intermediate_values
    time.sleep(tuning_worker.GRACE_S + 1.5)
    study.optimize(lambda trial: trial.suggest_float("rate", 1e-4, 0.1, log=True), n_trials=1)
    again = study.trials[1]
    assert study.trials[0].state.name == "FAIL" and again.state.name == "COMPLETE"
    assert again.params == study.trials[0].params


def test_heartbeat_is_still_experimental():
    # When Optuna takes the mark away, `open_storage` need no longer hold back its warning.
    with pytest.warns(optuna.exceptions.ExperimentalWarning):
        optuna.storages.RDBStorage("sqlite:///:memory:", heartbeat_interval=1)


# --- the curve of an exercise


def test_range_curve_falls_where_the_replies_say():
    rates, losses = lesson_08.range_curve()
    smooth = tuning.moving_average(losses)
    assert 0.02 < rates[smooth.argmin()] < 0.06
    assert abs(losses[rates < 1e-4].mean() - np.log(10)) < 0.05
    assert losses[rates > 0.3].min() > np.log(10)
    falling = np.diff(smooth) / np.diff(np.log(rates))
    assert 9e-4 < rates[1:][np.convolve(falling, np.ones(9) / 9, "same").argmin()] < 0.016


@pytest.mark.parametrize("answer", [0.002, 0.01, 1 / 200, np.float32(0.003)])
def test_good_rates_are_accepted(answer):
    assert lesson_08.good_rate.judge(answer).status == "correct"


@pytest.mark.parametrize("answer", [True, "0.003", -1e9, 0, float("nan"), float("inf"), [0.003]])
def test_rate_must_be_one_positive_number(answer):
    assert "One positive number" in lesson_08.good_rate.judge(answer).text


@pytest.mark.parametrize("answer", [{1, 2, 5}, {1, 2, 5, 7}, [2, 5, 7], (7, 5, 2)])
def test_wrong_lines_accept_either_of_two_that_contradict(answer):
    assert lesson_08.wrong_lines.judge(answer).status == "correct"


def test_skip_connection_may_be_written_with_plus():
    network = lesson_08._with_blocks(lambda x, y: x + y)
    assert lesson_08.residual_net.judge(network).status == "correct"


def test_skip_connection_must_add_the_input():
    network = lesson_08._with_blocks(lambda x, y: y + y)
    assert lesson_08.residual_net.judge(network).text.startswith("With all convolutions")
