from course_utils import datasets, prepare, weights


def test_what_is_there_is_left_alone(monkeypatch, capsys):
    for module in (datasets, weights):
        monkeypatch.setattr(module, "prepared", lambda: True)
        monkeypatch.setattr(module, "prepare_all", lambda: 1 / 0)
    assert prepare.main() == 0
    assert capsys.readouterr().out == ""


def test_one_failure_is_said_and_the_rest_still_prepared(monkeypatch, capsys):
    done = []

    def no_disk():
        raise OSError("no space left")

    for module in (datasets, weights):
        monkeypatch.setattr(module, "prepared", lambda: False)
    monkeypatch.setattr(datasets, "prepare_all", no_disk)
    monkeypatch.setattr(weights, "prepare_all", lambda: done.append("weights"))
    assert prepare.main() == 1
    assert capsys.readouterr().err == "no space left\n"
    assert done == ["weights"]
