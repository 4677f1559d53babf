"""Helpers of the course on image recognition in Python.

Each module answers one question a learner would ask: ``images`` (how do I read a picture?), ``datasets`` (where do
the pictures come from?), ``weights`` (where do the pretrained networks come from?), ``capture`` (how do I bring my
own picture in?), ``plots`` (how do I look at it?), ``claims`` (is what the text says true?) and ``environment`` (is
my computer ready?).

Import this package before TensorFlow: TensorFlow reads its log level once, when it starts.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # its start-up lines are no news to a learner
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

from course_utils.claims import verify

__all__ = ["verify"]
