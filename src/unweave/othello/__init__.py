"""Othello: its rules, its games, played at random or read from files, and what is true at every position of them."""

from unweave.othello.games import IllegalGame as IllegalGame
from unweave.othello.games import Split as Split
from unweave.othello.games import check as check
from unweave.othello.games import sample as sample
from unweave.othello.games import split_of as split_of
from unweave.othello.games import stream as stream
from unweave.othello.games import uniform_play as uniform_play
from unweave.othello.labels import Labels as Labels
from unweave.othello.labels import by_parity as by_parity
from unweave.othello.labels import label as label
from unweave.othello.labels import next_move_distribution as next_move_distribution
from unweave.othello.labels import parity_error as parity_error
