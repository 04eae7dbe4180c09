"""Scoring dictionaries of subjects that read text.

splice       dictionaries in the subject's forward pass
predictions  what it predicts then
rebuilt      what a dictionary makes of activations, as a whole and by position, token and feature
baselines    dictionaries that learned nothing
definitions  what every number means
evaluate     all of it, into the runs' folders
"""

from unweave.evaluation.language.evaluate import evaluate as evaluate
from unweave.evaluation.language.predictions import Predictions as Predictions
from unweave.evaluation.language.splice import Splice as Splice
