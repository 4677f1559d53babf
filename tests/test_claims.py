import numpy as np
import pytest

from course_utils import verify


@pytest.mark.parametrize("holds", [True, np.True_, np.array(True), np.array([True])])
def test_a_claim_that_holds_prints_a_tick_and_the_sentence(holds, capsys):
    verify("water is wet", holds)
    assert capsys.readouterr().out == "✔ water is wet\n"


@pytest.mark.parametrize("holds", [False, np.False_, np.array([False])])
def test_a_claim_that_does_not_hold_stops_with_the_sentence(holds):
    with pytest.raises(AssertionError, match="not true that water is dry"):
        verify("water is dry", holds)


@pytest.mark.parametrize("holds", [1, 0.0, "no", None, np.float32(1), np.array([True, True]), [], [True]])
def test_what_is_no_single_truth_value_is_refused(holds):
    with pytest.raises(TypeError, match="one True or False"):
        verify("a comparison was forgotten", holds)
