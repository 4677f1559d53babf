"""What makes an exercise: its kinds, what differs in an answer, the reply, time limits, and the results file."""

from course_utils.exercises.engine.kinds import Exercise, Function, Model, Quiz, Value, function, model, quiz, value

__all__ = ["Exercise", "Function", "Model", "Quiz", "Value", "function", "model", "quiz", "value"]
