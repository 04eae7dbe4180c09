"""Dictionaries: sparse autoencoders, the methods that train them, and what stands beside a method."""

from unweave.dictionary import methods as methods
from unweave.dictionary.core import METHODS as METHODS
from unweave.dictionary.core import Dictionary as Dictionary
