"""The order of the cases, as a function of the seed and the case's number."""

import random

from broadway_fuzz.case import Case
from broadway_fuzz.mutate import delivered, random_case
from broadway_fuzz.sweeps import all_sweeps
from broadway_fuzz.websocket import frame_cases, handshakes, random_frames

TARGETS = ("public", "public", "public", "public", "internal", "scheduler")


class Cases:
    """All cases of one seed: directed ones in a random order, with a random case after every two of them. After all
    directed cases they are repeated, each sent in another way."""

    def __init__(self, seed: int):
        self.seed = seed
        self.directed = [*all_sweeps(), *handshakes(), *frame_cases()]
        random.Random(f"order {seed}").shuffle(self.directed)

    def case(self, number: int) -> Case:
        """Case `number`, from 0."""
        chance = random.Random(f"{self.seed}/{number}")
        if number % 3 == 2:
            if chance.random() < 0.15:
                return random_frames(chance, number)
            return random_case(chance.choice(TARGETS), chance)
        turn, place = divmod(number // 3 * 2 + number % 3, len(self.directed))
        case = self.directed[place]
        return case if turn == 0 or len(case.steps) > 1 else delivered(case.kind, case.target, case.sent, chance)

    @staticmethod
    def source(number: int) -> str:
        """The source address of the case: they vary, so that limits by address do not refuse most cases."""
        return f"127.{1 + number // 62500 % 200}.{number // 250 % 250}.{1 + number % 250}"
