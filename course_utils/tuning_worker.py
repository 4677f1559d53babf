"""One worker of the search in lesson 08, section 8.9, which shares a study with others through a database.

``python -m course_utils.tuning_worker URL FEATURES TRIALS PAUSE`` starts one. It imports neither TensorFlow nor
Matplotlib, so that it starts within two seconds.
"""

import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import optuna
from sklearn.metrics import roc_auc_score
from sklearn.neural_network import MLPClassifier

STUDY = "solar cells"
EPOCHS = 12
HEARTBEAT_S = 1  # a worker says so often that it lives
GRACE_S = 4  # and is taken for dead after so long without a sign of life


def inputs(data: Mapping[str, np.ndarray], depth: str, fold: int) -> np.ndarray:
    """Return what a head reads of every cell: the features of one depth, (n, 64), or of ``"all"`` three, (n, 192).

    `data` holds for each depth float (folds, n, 64), standardised with the cells outside of that fold.
    """
    depths = ("early", "middle", "late") if depth == "all" else (depth,)
    return np.concatenate([data[name][fold] for name in depths], axis=1)


def make_head(settings: Mapping[str, Any], seed: int) -> MLPClassifier:
    """Return an untrained head of one hidden layer.

    `settings` has its ``width``, the ``rate`` of Adam and ``l2``, the strength of the penalty.
    """
    options = {"learning_rate_init": settings["rate"], "alpha": settings["l2"]}
    return MLPClassifier((settings["width"],), batch_size=64, random_state=seed, **options)


def cross_validated(
    settings: Mapping[str, Any], data: Mapping[str, np.ndarray], seed: int = 0, epochs: int = EPOCHS
) -> Iterator[np.ndarray]:
    """Train one head per fold, all at the same pace, and yield after every epoch the area under their ROC curves.

    That is float (folds,), on the cells of each fold, from a head trained on all others. `settings` is as in
    `make_head`, with ``depth`` as in `inputs`; `data` as in `inputs`, with ``labels`` (n,), 0 or 1, and ``fold`` (n,).
    """
    labels, fold_of = data["labels"], data["fold"]
    folds = np.unique(fold_of)
    tables = [inputs(data, settings["depth"], fold) for fold in folds]
    heads = [make_head(settings, seed) for _ in folds]
    for _ in range(epochs):
        scores = []
        for fold, table, head in zip(folds, tables, heads, strict=True):
            judge = fold_of == fold
            head.partial_fit(table[~judge], labels[~judge], classes=[0, 1])
            scores.append(roc_auc_score(labels[judge], head.predict_proba(table[judge])[:, 1]))
        yield np.array(scores)


def objective(trial: optuna.Trial, data: Mapping[str, np.ndarray], pause: float = 0.0) -> float:
    """Let an Optuna trial choose its settings, and return its mean score over the folds after the last epoch.

    `pause` is a wait in seconds after each epoch. Raises optuna.TrialPruned if the study's pruner stops the trial.
    """
    settings = {
        "depth": trial.suggest_categorical("depth", ["early", "middle", "late", "all"]),
        "rate": trial.suggest_float("rate", 1e-4, 0.1, log=True),
        "width": trial.suggest_int("width", 4, 128, log=True),
        "l2": trial.suggest_float("l2", 1e-5, 10, log=True),
    }
    score = 0.0
    for epoch, scores in enumerate(cross_validated(settings, data), start=1):
        score = float(scores.mean())
        trial.report(score, epoch)
        if trial.should_prune():
            raise optuna.TrialPruned
        time.sleep(pause)
    return score


def open_storage(url: str) -> optuna.storages.RDBStorage:
    """Open a database, by a URL such as ``"sqlite:///study.db"``, in which a study outlives its workers.

    A trial whose worker has been silent for `GRACE_S` seconds counts as failed, and its settings are tried once more.
    """
    with warnings.catch_warnings():
        # The heartbeat has been called experimental for years; a test of the course notices if it changes.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.storages.RDBStorage(
            url,
            engine_kwargs={"connect_args": {"timeout": 60}} if url.startswith("sqlite") else None,
            heartbeat_interval=HEARTBEAT_S,
            grace_period=GRACE_S,
            heartbeat_stale_trial_callback=optuna.storages.RetryHeartbeatStaleTrialCallback(max_retry=1),
        )


def main(arguments: list[str] | None = None) -> int:
    """Work on the study in a database until it holds enough trials, and return the exit code."""
    url, features, trials, pause = arguments or sys.argv[1:]
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # it writes a line per trial otherwise
    with np.load(features) as file:
        data = dict(file)
    study = optuna.load_study(
        study_name=STUDY,
        storage=open_storage(url),
        sampler=optuna.samplers.TPESampler(n_startup_trials=12),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=6, n_warmup_steps=2),
    )
    finished = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
    enough = optuna.study.MaxTrialsCallback(int(trials), states=finished)
    study.optimize(lambda trial: objective(trial, data, float(pause)), callbacks=[enough])
    return 0


if __name__ == "__main__":
    sys.exit(main())
