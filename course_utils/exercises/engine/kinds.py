"""The kinds of exercises and how they judge an answer.

An exercise is its reference solution, a plain function, with a decorator: `value`, `function`, `model` or `quiz`.
``solution()`` shows that function, the checker compares with it, and the tests use it. Every exercise also knows wrong
answers, each with what to tell the learner (`Mistake`).
"""

import ast
import copy
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np
from IPython.display import display

from course_utils.exercises.engine.compare import difference
from course_utils.exercises.engine.feedback import Feedback, drawable
from course_utils.exercises.engine.limits import Outcome, one_line, run_limited, short
from course_utils.exercises.engine.results import record

JUDGING_LIMIT_S = 60.0  # for all that an answer makes the checker do
FUNCTION_LIMIT_S = 5.0  # for all calls of a learner's function
LARGEST_SEARCH = 10_000  # items of a container that are searched for a blank

Rule = tuple[Callable[[Any], bool], Any, str]  # whether it holds, a wrong answer that breaks it, what to tell then


class Mistake(NamedTuple):
    """A known wrong answer, or a function without parameters that makes it, and what to tell the learner."""

    wrong: Any
    message: str

    @property
    def answer(self) -> Any:
        makes = inspect.isfunction(self.wrong) and not inspect.signature(self.wrong).parameters
        return self.wrong() if makes else self.wrong


def has_blank(answer: Any, depth: int = 5) -> bool:
    """Return whether an answer is or contains ``...``, the mark for what the learner has yet to write."""
    if answer is ...:
        return True
    if isinstance(answer, np.ndarray):
        return answer.dtype == object and answer.size <= LARGEST_SEARCH and any(item is ... for item in answer.flat)
    if isinstance(answer, dict):
        answer = list(answer.values())
    small = isinstance(answer, list | tuple | set | frozenset) and len(answer) <= LARGEST_SEARCH
    return small and depth > 0 and any(has_blank(item, depth - 1) for item in answer)


def has_blank_source(function: Callable) -> bool:
    """Return whether a function still has a ``...`` to replace (no index, no stub inside it), or no body at all."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError, ValueError):
        return False
    definition = tree.body[0]
    if not isinstance(definition, ast.FunctionDef):
        return False  # a lambda: its result will tell
    inside = (ast.Subscript, ast.FunctionDef)
    calls = {n for n in ast.walk(tree) if isinstance(n, ast.Call) and getattr(n.func, "attr", "") == "__getitem__"}
    outer = {n for n in ast.walk(tree) if isinstance(n, inside) and n is not definition} | calls
    indices = {id(node) for index in outer for node in ast.walk(index)}
    blanks = (n for n in ast.walk(tree) if isinstance(n, ast.Constant) and n.value is ... and id(n) not in indices)
    return any(blanks) or all(
        isinstance(line, ast.Pass) or (isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant))
        for line in definition.body
    )


class CourseFault(Exception):
    """The course could not prepare an exercise; no answer of a learner is to blame."""


@contextmanager
def preparing(name: str) -> Iterator[None]:
    """Turn any error in what the course computes itself into a `CourseFault`."""
    try:
        yield
    except Exception as error:
        text = f"`{name}` could not be prepared: {one_line(error)}. This is the course's fault, not yours"
        raise CourseFault(f"{text}; `python3 course.py check` may tell what is missing.") from error


class Exercise:
    """What all kinds share; its name is that of the solution, its lesson the module of the solution.

    Parameters
    ----------
    reference : callable
        The solution, a plain function.
    hints : sequence of str
        From gentle to strong.
    remark : str
        What to say when the answer is right.
    mistakes : sequence of (wrong answer, str)
        What to tell about this very answer.
    comparison : bool or float
        `tolerance`, `dtype`, `shape` and `image` of `difference`; with `image`, a wrong image is drawn too.
    """

    how = "replace each `...` with your answer and run the cell again"

    def __init__(
        self, reference: Callable, *, hints: Sequence[str] = (), remark: str = "", mistakes: Sequence = (), **comparison
    ) -> None:
        self.reference = reference
        self.name = reference.__name__
        self.lesson = reference.__module__.rpartition(".")[2]
        self.hints = tuple(hints)
        self.remark = remark
        self.mistakes = [Mistake(*mistake) for mistake in mistakes]
        self.comparison = comparison

    def __repr__(self) -> str:
        return f"Exercise {self.name} of {self.lesson}: .check(your answer), .hint(), .solution()"

    # --- for learners

    def check(self, *answer: Any) -> None:
        """Say whether an answer is right, and if not, why; never raises. ``check(2, 1)`` means ``check((2, 1))``."""
        try:
            feedback = self.judge(answer[0] if len(answer) == 1 else answer or ...)
        except KeyboardInterrupt:
            display(Feedback("note", "Stopped."))
            return
        if note := record(self.lesson, self.name, feedback.status):
            display(Feedback("note", note))
        display(feedback)

    def hint(self, number: int = 1) -> None:
        """Show a hint; ``hint(2)`` shows the next one, which says more."""
        count = len(self.hints)
        if number not in range(1, count + 1):
            known = "there is no hint" if not count else f"the hints are .hint(1) to .hint({count})"
            display(Feedback("note", f"There is no hint {short(number)} for `{self.name}`: {known}."))
            return
        more = f" (`.hint({number + 1})` says more)" if number < count else ""
        display(Feedback("hint", f"{number} of {count}: {self.hints[number - 1]}{more}"))

    def solution(self) -> None:
        """Show the solution: the code that the checker compares with."""
        display(Feedback("solution", self.remark, code=self.answer_code()))

    # --- for the checker, the tests and the copies for instructors

    def judge(self, answer: Any) -> Feedback:
        """Return what `check` says, without showing or keeping it; never raises, whatever the answer is.

        The status is "correct", "wrong" or "not attempted"; "note" if the course itself is at fault.
        """
        outcome = run_limited(self._judge, (answer,), JUDGING_LIMIT_S)
        if isinstance(outcome.error, CourseFault):
            return Feedback("note", str(outcome.error))
        if outcome.finished and outcome.error is None:
            return outcome.value
        reason = one_line(outcome.error) if outcome.finished else f"it took longer than {JUDGING_LIMIT_S:.0f} s"
        return Feedback("wrong", f"Your answer, of type {type(answer).__name__}, could not be checked: {reason}.")

    def answer_code(self) -> str:
        """Return the solution as a learner would write it into the cell."""
        return _source(self.reference)

    @cached_property
    def right_answer(self) -> Any:
        """The answer that the solution gives."""
        return self.reference()

    def _judge(self, answer: Any) -> Feedback:
        raise NotImplementedError

    def _blank(self) -> Feedback:
        return Feedback("not attempted", f"{self.how[0].upper()}{self.how[1:]}.")

    def _correct(self) -> Feedback:
        return Feedback("correct", self.remark)

    def _wrong(self, complaint: str, expected: Any, got: Any) -> Feedback:
        """Return the complaint, with images if the exercise is about them."""
        if self.comparison.get("image") and drawable(expected) and drawable(got):
            return Feedback("wrong", complaint, expected=expected, got=got)
        return Feedback("wrong", complaint)


class Value(Exercise):
    """An exercise whose answer is a value: number, text, shape, list or array.

    Parameters
    ----------
    rules : sequence of (callable, wrong answer, str)
        For open answers, which are not compared with the solution: what an answer must fulfil, one that does not (or a
        function without parameters that makes it), and what to tell then. Tried in order, after `mistakes`.
    """

    def __init__(
        self, reference: Callable, *, rules: Sequence[Rule] = (), mistakes: Sequence = (), **shared: Any
    ) -> None:
        super().__init__(reference, mistakes=[*mistakes, *(rule[1:] for rule in rules)], **shared)
        self.rules = tuple(rules)
        self.exact = self.mistakes[: len(mistakes)]

    def answer_code(self) -> str:
        """Return the body of the solution with its result assigned to the exercise's name."""
        source = _source(self.reference)
        body = ast.parse(source).body[0].body
        lines = source.splitlines()
        last = body[-1].lineno - 1
        lines[last] = lines[last].replace("return", f"{self.name} =", 1)
        return textwrap.dedent("\n".join(lines[body[0].lineno - 1 :]))

    def _judge(self, answer: Any) -> Feedback:
        if has_blank(answer):
            return self._blank()
        if self.rules:
            return self._follow_rules(answer)
        with preparing(self.name):
            expected = self.right_answer
        complaint = self._differs(expected, answer)
        return self._wrong(self._known(answer) or complaint, expected, answer) if complaint else self._correct()

    def _follow_rules(self, answer: Any) -> Feedback:
        broken = (message for holds, _, message in self.rules if not _holds(holds, answer))
        complaint = self._known(answer) or next(broken, None)
        return self._correct() if complaint is None else Feedback("wrong", complaint)

    def _known(self, answer: Any) -> str | None:
        return next((message for wrong, message in self.exact if self._differs(wrong, answer) is None), None)

    def _differs(self, expected: Any, answer: Any) -> str | None:
        return difference(expected, answer, reveal=False, where="value", **self.comparison)


class Model(Value):
    """An exercise whose answer is a Keras model; rules are asked about a built one, `note` adds a line to the reply."""

    def __init__(self, reference: Callable, *, note: Callable[[Any], str] | None = None, **shared: Any) -> None:
        super().__init__(reference, **shared)
        self.note = note

    def _judge(self, answer: Any) -> Feedback:
        if answer is ...:
            return self._blank()
        keras = sys.modules.get("keras")  # whoever has a model has imported it
        if keras is None or not isinstance(answer, keras.Model):
            remedy = " Call your function, and pass what it returns." if inspect.isroutine(answer) else ""
            if keras is not None and isinstance(answer, keras.callbacks.History):
                remedy = " That is what `fit` returns: pass the network itself."
            return Feedback("wrong", f"A Keras model is expected, but this is {short(answer)}.{remedy}")
        if not answer.built:
            return Feedback("wrong", "The shapes of this model are not known yet: begin it with `keras.Input(...)`.")
        feedback = self._follow_rules(answer)
        line = self.note(answer) if self.note else ""
        return Feedback(feedback.status, f"{feedback.text}\n{line}") if line else feedback


class Function(Exercise):
    """An exercise whose answer is a function.

    `inputs` returns the argument tuples that solution and answer are called with, smallest first; all calls of a
    learner's function together may take so many `seconds`.
    """

    def __init__(
        self,
        reference: Callable,
        *,
        inputs: Callable[[], list[tuple]],
        seconds: float = FUNCTION_LIMIT_S,
        **shared: Any,
    ) -> None:
        super().__init__(reference, **shared)
        self._make_inputs = inputs
        self.seconds = seconds

    @property
    def right_answer(self) -> Callable:
        """The solution itself."""
        return self.reference

    @cached_property
    def inputs(self) -> list[tuple]:
        """What the function is called with, smallest first."""
        return self._make_inputs()

    @cached_property
    def expected(self) -> list[Any]:
        """What the solution returns for each of the inputs."""
        return self._results(self.reference)

    def mistake(self, message: str) -> Callable[[Callable], Callable]:
        """Register the decorated function as a known wrong answer."""

        def register(answer: Callable) -> Callable:
            self.mistakes.append(Mistake(answer, message))
            return answer

        return register

    def _results(self, function: Callable) -> list[Any]:
        return [_call(function, arguments) for arguments in self.inputs]

    def _judge(self, answer: Any) -> Feedback:
        if answer is ... or has_blank_source(answer):
            return self._blank()
        with preparing(self.name):
            expected = self.expected
        if not callable(answer):
            text = f"Pass the function itself, without calling it: `check({self.name})`. This is {short(answer)}."
            return Feedback("wrong", text)
        results, outcome = self._try(answer)
        for number, result in enumerate(results):
            if has_blank(result):
                return self._blank()
            if complaint := difference(expected[number], result, **self.comparison):
                call = f"{self._as_call(number)} goes wrong."
                known = self._known(results) or _exchanged(self.reference, answer)
                return self._wrong(f"{known}\n{call}" if known else f"{call} {complaint}", expected[number], result)
        if len(results) == len(self.inputs):
            return self._correct()
        return self._unfinished(answer, self._as_call(len(results)), outcome)

    def _try(self, answer: Callable) -> tuple[list[Any], Outcome]:
        """Call a learner's function on the inputs in their order, until it raises or takes too long."""
        results: list[Any] = []

        def all_calls() -> None:
            for arguments in self.inputs:
                result = _call(answer, arguments)
                with suppress(Exception):  # a copy, or a list that is filled further by the next call looks wrong here
                    result = copy.deepcopy(result)
                results.append(result)

        outcome = run_limited(all_calls, seconds=self.seconds)
        return list(results), outcome

    def _known(self, results: list[Any]) -> str | None:
        """Return what is to be told about results that are those of a known mistake."""
        for mistake in self.mistakes:
            known, _ = self._try(mistake.wrong)  # it may raise, where the answer raises too
            same = (
                difference(one, other, **self.comparison) is None for one, other in zip(known, results, strict=True)
            )
            if len(results) == len(known) and all(same):
                return mistake.message
        return None

    def _unfinished(self, answer: Callable, call: str, outcome: Outcome) -> Feedback:
        """Say why a function gave no result: it did not end, it has a blank, or it raised."""
        code = getattr(answer, "__code__", None)
        if not outcome.finished:
            cause = "does a loop never stop, does it wait at `input()`, or is it only slow?"
            return Feedback("wrong", f"{call} did not end within {self.seconds:g} s: {cause}")
        if isinstance(outcome.error, TypeError) and "ellipsis" in str(outcome.error):
            return self._blank()
        complaint = f"{call} stops with {one_line(outcome.error, code)}"
        return Feedback("wrong", " ".join(filter(None, [complaint, _exchanged(self.reference, answer)])))

    def _as_call(self, number: int) -> str:
        """Return the call with an input as code, and what happened before it."""
        call = f"`{self.name}({', '.join(short(argument) for argument in self.inputs[number])})`"
        return f"{call} (the input before it came out right)" if number else call


class Quiz(Exercise):
    """A question with one right letter.

    `because` says why that option is right, and `reasons` for every other letter why it is wrong.
    """

    how = "replace the `...` with the letter of your answer in quotes, and run the cell again"

    def __init__(self, reference: Callable, *, because: str, hints: Sequence[str] = (), **reasons: str) -> None:
        super().__init__(reference, hints=hints, remark=because, mistakes=list(reasons.items()))
        self.reasons = reasons

    @property
    def letters(self) -> list[str]:
        """All options, in their order."""
        return sorted([self.right_answer, *self.reasons])

    def answer_code(self) -> str:
        """Return the right letter, as it stands in the call of `check`."""
        return f'"{self.right_answer}"'

    def _judge(self, answer: Any) -> Feedback:
        if has_blank(answer):
            return self._blank()
        letter = answer.strip(" .()\n").upper() if isinstance(answer, str) else None
        if letter == self.right_answer:
            return self._correct()
        options = f"One letter in quotes is expected, out of {', '.join(self.letters)}; this is {short(answer)}."
        return Feedback("wrong", self.reasons.get(letter, options))


def _call(function: Callable, arguments: tuple) -> Any:
    return function(*copy.deepcopy(arguments))  # a function that changes its input must not spoil the next call


def _exchanged(reference: Callable, answer: Callable) -> str:
    """Say that a function takes the right parameters in another order; return nothing if that is not so."""
    with suppress(Exception):  # a callable without a signature
        wanted, taken = list(inspect.signature(reference).parameters), list(inspect.signature(answer).parameters)
        if wanted != taken and sorted(wanted) == sorted(taken):
            return f"It is called with ({', '.join(wanted)}), but yours takes ({', '.join(taken)}): keep their order."
    return ""


def _holds(rule: Callable[[Any], bool], answer: Any) -> bool:
    try:
        return bool(rule(answer))
    except Exception:  # an answer of the wrong kind breaks the rule that it cannot even be asked about
        return False


def _source(function: Callable) -> str:
    """Return the source of a function without its decorators."""
    source = textwrap.dedent(inspect.getsource(function))
    return "\n".join(source.splitlines()[ast.parse(source).body[0].lineno - 1 :])


# Decorators: ``@value(…)`` makes an exercise, with these options, of the solution below it.
value, function, model, quiz = (partial(partial, kind) for kind in (Value, Function, Model, Quiz))
