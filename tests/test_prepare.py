from course_utils import datasets, prepare, weights


def test_prepare_leaves_alone_what_is_there(monkeypatch, capsys):
    for module in (datasets, weights):
        monkeypatch.setattr(module, "prepared", lambda: True)
        monkeypatch.setattr(module, "prepare_all", lambda: 1 / 0)
    assert prepare.main() == 0
    assert capsys.readouterr().out == ""


def test_prepare_goes_on_after_a_failure(monkeypatch, capsys):
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
