"""K nearest neighbours in plain Python."""

import heapq
import math
from collections import Counter


def nearest(dataset, point, k):
    """The indices of the k rows of dataset nearest to point, nearest first; of equal distances the lower index."""
    distances = ((math.dist(row, point), index) for index, row in enumerate(dataset))
    return [index for _, index in heapq.nsmallest(k, distances)]


def vote(labels):
    """The most frequent label; of equally frequent ones that of the nearest neighbour."""
    counts = Counter(labels)
    return max(labels, key=lambda label: counts[label])
