from types import SimpleNamespace

import IPython
import numpy as np
import pytest

from course_utils import print_measured, verify


@pytest.fixture
def learner(monkeypatch):
    """As in a notebook that somebody works in."""
    monkeypatch.delenv("COURSE_STRICT", raising=False)
    monkeypatch.setattr(IPython, "get_ipython", lambda: SimpleNamespace(kernel=object()))


@pytest.mark.parametrize("holds", [True, np.True_, np.array(True), np.array([True])])
def test_claim_that_holds_prints_tick_and_sentence(holds, capsys):
    verify("water is wet", holds)
    assert capsys.readouterr().out == "✔ water is wet\n"


def test_claim_shows_what_was_measured(capsys):
    verify("most are right", True, measured=f"{0.893:.1%} → {0.5:.0%}")
    assert capsys.readouterr().out == "✔ most are right · measured 89.3 % → 50 %\n"


@pytest.mark.parametrize("holds", [False, np.False_, np.array([False])])
def test_false_claim_stops_scripts_builds_and_tests(holds):
    with pytest.raises(AssertionError, match=r"Not so in this run: water is dry · measured 3 l$"):
        verify("water is dry", holds, measured="3 l")


def test_false_claim_is_shown_to_a_learner_and_the_notebook_goes_on(learner, capsys):
    verify("water is dry", False, measured="78%")
    first, second = capsys.readouterr().out.splitlines()
    assert first == "✘ Not so in this run: water is dry · measured 78 %"
    assert "you have just found something out" in second and "from the top" in second


def test_false_claim_stops_a_strict_notebook(learner, monkeypatch):
    monkeypatch.setenv("COURSE_STRICT", "1")
    with pytest.raises(AssertionError):
        verify("water is dry", False)


@pytest.mark.parametrize("holds", [1, 0.0, "no", None, np.float32(1), np.array([True, True]), [], [True]])
def test_claim_needs_a_single_truth_value(holds, learner):
    with pytest.raises(TypeError, match="one True or False"):
        verify("a comparison was forgotten", holds)


def test_print_measured_puts_the_number_behind_its_name(capsys):
    print_measured("accuracy on the test set", f"{0.5:.1%}")
    assert capsys.readouterr().out == "accuracy on the test set · measured 50.0 %\n"
