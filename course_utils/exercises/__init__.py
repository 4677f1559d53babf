"""Exercises that answer back, one module a lesson.

Learners call ``check``, ``hint`` and ``solution`` of the exercises in ``lesson_01``, ``lesson_02`` …; authors declare
them with the decorators of ``engine``. What a wrong answer is told comes from ``compare`` (what differs, in words) or
from a mistake that the exercise knows by name; ``limits`` keeps an endless loop from taking the notebook with it, and
``feedback`` draws the reply.
"""
