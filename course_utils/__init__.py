"""Helpers of the course on image recognition in Python; each module answers one question a learner would ask.

``images``, ``folders`` (how do I read images?), ``datasets``, ``scenes``, ``weights`` (where do images and pretrained
networks come from?), ``capture`` (how do I bring my own image in?), ``plots`` (how do I look at it?), ``claims`` (is
what the text says true?), ``exercises`` (is my answer right?), ``progress`` (what have I solved?), ``environment`` (is
my computer ready?). ``convolution``, ``descriptors``, ``training``, ``embeddings``, ``evaluation``, ``explain``,
``detection``, ``pytorch``, ``export`` and ``models`` keep what the lessons have shown once. ``audit`` and
``report`` are for a folder of your own; ``predict``, ``web_page`` and ``contract`` put a finished model to use.

Import this package before NumPy and TensorFlow: then TensorFlow starts silently, and two notebooks at once do not
slow each other down.
"""

import logging
import os

from course_utils._setup.quiet import quiet_import
from course_utils.claims import print_measured, verify

# NumPy's linear algebra in one thread: the matrices of the lessons are small, and two notebooks at once, each with as
# many threads as there are cores, wait for each other up to a hundred times longer than they compute. TensorFlow has
# threads of its own.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # its start-up lines are no news to a learner
quiet_import("tensorflow")  # nor are those that heed no level
# A lesson uses many networks in one kernel, which TensorFlow takes for one function that is traced again and again.
logging.getLogger("tensorflow").addFilter(lambda record: "tf.function retracing" not in record.getMessage())
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

__all__ = ["print_measured", "verify"]
