"""Exercises that reply to an answer: one module per lesson, and `engine`, with which authors declare them."""
