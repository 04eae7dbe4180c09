"""How many random games of Othello a second one core plays: the issue of speed is at least 50,000.

Other programs on the machine slow it down, so each of several rounds is printed, and the best counts.
"""

from __future__ import annotations

import time

import torch

from unweave.othello import games

GAMES, ROUNDS = 8192, 12


def main() -> None:
    torch.set_num_threads(1)
    games.uniform_play(GAMES, seed=0)
    rates = []
    for seed in range(ROUNDS):
        wall, cpu = time.perf_counter(), time.process_time()
        games.uniform_play(GAMES, seed)
        rates.append((GAMES / (time.perf_counter() - wall), GAMES / (time.process_time() - cpu)))
        print(f"round {seed + 1:2}: {rates[-1][0]:8,.0f} games/s of wall time, {rates[-1][1]:8,.0f} of CPU time")
    best = [max(each) for each in zip(*rates, strict=True)]
    print(f"best:     {best[0]:8,.0f} games/s of wall time, {best[1]:8,.0f} of CPU time, on one core")


if __name__ == "__main__":
    main()
